"""Runs a command with all its children: passes output on, reads the status, enforces the end."""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from geovlm.plugins.described import FILES_VARIABLE, files_of_user
from geovlm.run.machines import without_launcher
from geovlm.run.status.log import Log
from geovlm.run.stopping import StopRequest

if TYPE_CHECKING:
    import psutil

LIFELINE_VARIABLE = "GEOVLM_LIFELINE"
"""Variable that is set if only the launcher keeps standard input open, for as long as it lives."""
LAUNCHER = "accelerate.commands.launch"
"""Module that ends with its own report on the status of its processes."""
_STATUS = re.compile(r"non-zero exit status (\d+)|exitcode\s*:\s*(-?\d+)")
_SIGNAL = re.compile(r"died with <Signals\.\w+: (\d+)>")
_RANK = re.compile(r"Root Cause .*?rank\s*: (\d+)", re.DOTALL)
_ISOLATED = {
    "PYTHONSAFEPATH": "1",
    "PYTHONUTF8": "1",
    "PYTHONIOENCODING": "utf-8:backslashreplace",
}
"""Variables of Python: import nothing from the working folder, read and write UTF-8."""
_TORCHRUN_TAKES = "SIGINT,SIGHUP,SIGQUIT"
"""Signals that torchrun handles; not SIGTERM, after which it would kill workers within 30 s."""
_PATIENCE_S = 20.0
"""Seconds from SIGTERM to SIGKILL."""


class Outcome(NamedTuple):
    """End of a process tree."""

    status: int
    """Exit status of the worker, not of accelerate in front of it."""
    error: str
    """Text after `error: ` on the worker's last line, or empty."""
    stopped: str = ""
    """Text after `stopped: ` on the worker's last line: it stopped on request and can resume."""
    rank: int | None = None
    """Rank that failed first, if there are several."""


def python(*words: str) -> list[str]:
    """Return the command line of a Python process that imports nothing from its working folder.

    Many repositories have a package `datasets` or a file `random.py`, which would hide the
    installed one. Folders that the user names in PYTHONPATH still count.
    """
    return [sys.executable, "-P", *words]


def isolated(variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of a process of `python`, and of the processes that it starts.

    Launchers start their ranks by command lines of their own, so `-P` alone does not reach those.
    An empty entry of PYTHONPATH means the working folder and is left out: `PYTHONPATH=/a:` comes
    from `/a:$PYTHONPATH`. Docstrings are kept, whatever PYTHONOPTIMIZE says. A command that ignores
    PYTHONPATH or the user's site-packages starts processes that ignore them too. They have the
    data sets of this process that files describe, whatever their working folder.
    """
    kept = without_launcher(variables)
    kept[FILES_VARIABLE] = os.pathsep.join(map(str, files_of_user()))
    if kept.get("PYTHONOPTIMIZE", "") not in ("", "0", "1"):
        del kept["PYTHONOPTIMIZE"]  # transformers reads docstrings when it is imported
    folders = [each for each in kept.pop("PYTHONPATH", "").split(os.pathsep) if each]
    if folders:
        kept["PYTHONPATH"] = os.pathsep.join(folders)
    if sys.flags.ignore_environment:  # as `python -I` or `-E` started us
        kept.pop("PYTHONPATH", None)
    if sys.flags.no_user_site:
        kept["PYTHONNOUSERSITE"] = "1"
    return kept | _ISOLATED


def execute(
    argv: Sequence[str],
    *,
    variables: dict[str, str],
    log: Path,
    check: Callable[[], None] = lambda: None,
    stop: StopRequest | None = None,
) -> Outcome:
    """Run a command; its output goes to standard error and to a file as it comes.

    The traceback of accelerate after the worker's `error: ` line goes to the file only. An
    interrupt ends the whole process tree; so do SIGTERM without `stop` and an exception of `check`,
    which is called at least every 0.2 s.
    """
    # with `stop`, the launcher between us and the workers must not end on a SIGTERM to all
    taken = contextlib.nullcontext() if stop is not None else _terminable()
    with log.open("ab", buffering=0) as file, taken:
        process = subprocess.Popen(
            argv,
            env=variables | {LIFELINE_VARIABLE: "1", "PET_SIGNALS_TO_HANDLE": _TORCHRUN_TAKES},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_ignore_sigterm if stop is not None else None,
        )
        assert process.stdout is not None
        assert process.stdin is not None
        relay = _Relay(file)
        try:
            _pump(process, relay, check=check, stop=stop)
            status = process.wait()
        except BaseException:
            end_tree(process, patience_s=_PATIENCE_S if stop is None else 0.0)
            raise
        finally:
            relay.close()
            process.stdin.close()
            process.stdout.close()
    if status and not relay.error and not relay.stopped:
        relay.release()
    report = relay.tail if LAUNCHER in argv else ""
    found = [int(a or b) for a, b in _STATUS.findall(report)]
    found += [-int(number) for number in _SIGNAL.findall(report)]
    if status and found:
        status = found[-1] if 2 not in found else 2
    rank = _RANK.search(report)
    return Outcome(
        status,
        relay.error if status else "",
        stopped=relay.stopped,
        rank=int(rank[1]) if rank and status else None,
    )


def end_tree(process: subprocess.Popen[bytes], *, patience_s: float = _PATIENCE_S) -> None:
    """End a process and all its children by SIGTERM, then by SIGKILL.

    A signal to the process group is not enough: torchrun gives each worker its own session.
    """
    import psutil  # a dependency of accelerate

    try:
        top = psutil.Process(process.pid)
        tree = [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    _end(tree, patience_s=patience_s)
    process.wait()


def end_session(leader: int) -> None:
    """End what is left of the session that a process began, which may have ended without it."""
    import psutil

    _end([each for each in psutil.process_iter() if _session(each.pid) == leader])


def _end(processes: list[psutil.Process], *, patience_s: float = _PATIENCE_S) -> None:
    import psutil

    alive = processes
    if patience_s:
        for each in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.terminate()
        _, alive = psutil.wait_procs(processes, timeout=patience_s)
    for each in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


class _Relay:
    """Passes lines on up to `error: ` or `stopped: `; later lines go to the file only."""

    def __init__(self, file: io.FileIO) -> None:
        self.error = ""
        self.stopped = ""
        self._line = b""
        self._printed = 0
        self._tail = b""
        self._log = Log(file)

    @property
    def tail(self) -> str:
        """Last 20,000 characters of output, which hold the report of accelerate."""
        return self._tail.decode(errors="replace")

    def feed(self, data: bytes) -> None:
        self._log.feed(data)
        self._tail = (self._tail + data)[-20_000:]
        for piece in data.splitlines(keepends=True):
            self._line += piece
            if piece.endswith((b"\n", b"\r")):
                self._finish()

    def close(self) -> None:
        """Write the rest of the last line to the file."""
        self._log.close()

    def idle(self) -> None:
        """Print an unfinished line, such as a progress bar."""
        over = self.error or self.stopped
        if not over and not self._line.startswith((b"error", b"stopped")):
            _print(self._line[self._printed :])
            self._printed = len(self._line)

    def release(self) -> None:
        """Print the rest of the last line."""
        _print(self._line[self._printed :])
        self._line, self._printed = b"", 0

    def _finish(self) -> None:
        if not self.error and not self.stopped:
            if self._line.startswith(b"error: "):
                self.error = self._line[7:].decode(errors="replace").strip()
            elif self._line.startswith(b"stopped: "):
                self.stopped = self._line[9:].decode(errors="replace").strip()
            else:
                _print(self._line[self._printed :])
        self._line, self._printed = b"", 0


def _print(data: bytes) -> None:
    if data:
        sys.stderr.write(data.decode(errors="replace"))
        sys.stderr.flush()


def _ignore_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _pump(
    process: subprocess.Popen[bytes],
    relay: _Relay,
    *,
    check: Callable[[], None],
    stop: StopRequest | None,
) -> None:
    """Read until the output is closed, or the process has ended and its output is empty."""
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    while True:
        check()
        if stop is not None:
            stop.pass_on(process)
        ready, _, _ = select.select([descriptor], [], [], 0.2)
        if ready:
            data = os.read(descriptor, 65_536)
            if not data:
                return
            relay.feed(data)
        else:
            relay.idle()
            if process.poll() is not None:
                return


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Raise an exception on SIGTERM in the context, so that the processes of the stage end too."""

    def stop(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
