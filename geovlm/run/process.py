"""A command and all its children: its output passed on, its status understood, its end enforced."""

from __future__ import annotations

import contextlib
import io
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from geovlm.run.stopping import StopRequest

LIFELINE_VARIABLE = "GEOVLM_LIFELINE"
"""Set where standard input is held open by the launcher, and by nothing else, while it lives."""
LAUNCHER = "accelerate.commands.launch"
"""The module that ends with a report of its own on what its processes ended with."""
_STATUS = re.compile(r"non-zero exit status (\d+)|exitcode\s*:\s*(-?\d+)")
_SIGNAL = re.compile(r"died with <Signals\.\w+: (\d+)>")
_RANK = re.compile(r"Root Cause .*?rank\s*: (\d+)", re.DOTALL)
_TORCHRUN_TAKES = "SIGINT,SIGHUP,SIGQUIT"
"""Without SIGTERM, for which torchrun would kill the workers after 30 seconds."""
_PATIENCE_S = 20.0
"""From SIGTERM to SIGKILL."""


class Outcome(NamedTuple):
    """How a process tree ended."""

    status: int
    """Of the worker, not of accelerate in front of it."""
    error: str
    """What followed `error: ` on the worker's last line, or nothing."""
    seconds: float
    stopped: str = ""
    """What followed `stopped: ` on the worker's last line: it was asked to, and can go on."""
    rank: int | None = None
    """Which rank failed first, of several."""


def execute(
    argv: Sequence[str],
    *,
    variables: dict[str, str],
    log: Path,
    check: Callable[[], None] = lambda: None,
    stop: StopRequest | None = None,
) -> Outcome:
    """Run a command, passing its output on to standard error and to a file as it comes.

    What follows the worker's `error: ` line is accelerate's own traceback: it goes to the file
    only. An interrupt ends the whole process tree; so does SIGTERM without `stop`, and so does an
    exception of `check`.

    Args:
        argv: the command.
        variables: its environment.
        log: where its output goes.
        check: called at least every 0.2 s.
        stop: taken here; how the command is asked to stop.
    """
    started = time.monotonic()
    # with `stop`, what lies between us and the workers must not end on a SIGTERM to all
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
            process.stdin.close()
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
        time.monotonic() - started,
        stopped=relay.stopped,
        rank=int(rank[1]) if rank and status else None,
    )


def end_tree(process: subprocess.Popen[bytes], *, patience_s: float = _PATIENCE_S) -> None:
    """End a process and all below it: politely, then by force.

    torchrun puts each of its workers into a session of its own, so the group is not enough.
    """
    import psutil  # a dependency of accelerate

    try:
        top = psutil.Process(process.pid)
        tree = [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    alive = tree
    if patience_s:
        for each in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.terminate()
        _, alive = psutil.wait_procs(tree, timeout=patience_s)
    for each in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()


class _Relay:
    """Passes lines on, up to one of `error: ` or `stopped: `; later ones go to the file only."""

    def __init__(self, file: io.FileIO) -> None:
        self.error = ""
        self.stopped = ""
        self._file: io.FileIO | None = file
        self._line = b""
        self._shown = 0
        self._tail = b""

    @property
    def tail(self) -> str:
        """The last 20,000 characters of output, as far as accelerate's own report reaches."""
        return self._tail.decode(errors="replace")

    def feed(self, data: bytes) -> None:
        self._keep(data)
        self._tail = (self._tail + data)[-20_000:]
        for piece in data.splitlines(keepends=True):
            self._line += piece
            if piece.endswith((b"\n", b"\r")):
                self._finish()

    def idle(self) -> None:
        """Show an unfinished line, such as a progress bar."""
        over = self.error or self.stopped
        if not over and not self._line.startswith((b"error", b"stopped")):
            _show(self._line[self._shown :])
            self._shown = len(self._line)

    def release(self) -> None:
        """Show what is left of the last line."""
        _show(self._line[self._shown :])
        self._line, self._shown = b"", 0

    def _keep(self, data: bytes) -> None:
        """Write to the file; a disk that is full ends the file, not the training."""
        if self._file is None:
            return
        try:
            self._file.write(data)
        except OSError as error:
            name, self._file = self._file.name, None
            print(f"warning: no more output is kept in {name}: {error.strerror}", file=sys.stderr)

    def _finish(self) -> None:
        if not self.error and not self.stopped:
            if self._line.startswith(b"error: "):
                self.error = self._line[7:].decode(errors="replace").strip()
            elif self._line.startswith(b"stopped: "):
                self.stopped = self._line[9:].decode(errors="replace").strip()
            else:
                _show(self._line[self._shown :])
        self._line, self._shown = b"", 0


def _show(data: bytes) -> None:
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
    """Read until the output is closed, or the process is gone and its output is quiet."""
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
    """Make SIGTERM an exception for a while, so that the stage's processes end with us."""

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
