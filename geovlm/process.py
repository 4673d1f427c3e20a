"""A command and all its children: its output passed on, its status understood, its end enforced."""

from __future__ import annotations

import contextlib
import math
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

_STATUS = re.compile(r"non-zero exit status (\d+)|exitcode\s*:\s*(-?\d+)")
_SIGNAL = re.compile(r"died with <Signals\.\w+: (\d+)>")
_PATIENCE_S = 20.0
"""From SIGTERM to SIGKILL."""


class Outcome(NamedTuple):
    """How a process tree ended."""

    status: int
    """Of the worker, not of accelerate in front of it."""
    error: str
    """What followed `error: ` on the worker's last line, or nothing."""
    seconds: float


def execute(
    argv: Sequence[str], *, variables: dict[str, str], log: Path, deadline_s: float | None = None
) -> Outcome:
    """Run a command, passing its output on to standard error and to a file as it comes.

    What follows the worker's `error: ` line is accelerate's own traceback: it goes to the file
    only. An interrupt ends the whole process tree, and so does the deadline.

    Raises:
        TimeoutError: it took longer than the deadline.
    """
    started = time.monotonic()
    with log.open("ab") as file, _terminable():
        process = subprocess.Popen(
            argv,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert process.stdout is not None
        relay = _Relay(file)
        try:
            _pump(process, relay, until=started + (deadline_s or math.inf))
            status = process.wait()
        except BaseException:
            end_tree(process)
            raise
    if status and not relay.error:
        relay.release()
    found = [int(a or b) for a, b in _STATUS.findall(relay.tail)]
    found += [-int(number) for number in _SIGNAL.findall(relay.tail)]
    if status and found:
        status = found[-1] if 2 not in found else 2
    return Outcome(status, relay.error if status else "", time.monotonic() - started)


def end_tree(process: subprocess.Popen[bytes]) -> None:
    """End a process and all below it: politely, then by force.

    torchrun puts each of its workers into a session of its own, so the group is not enough.
    """
    import psutil  # a dependency of accelerate

    try:
        top = psutil.Process(process.pid)
        tree = [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for each in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.terminate()
    _, alive = psutil.wait_procs(tree, timeout=_PATIENCE_S)
    for each in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()


class _Relay:
    """Passes lines on, up to the worker's `error: ` line; later ones go to the file only."""

    def __init__(self, file: IO[bytes]) -> None:
        self.error = ""
        self._file = file
        self._line = b""
        self._shown = 0
        self._tail = b""

    @property
    def tail(self) -> str:
        """The last 20,000 characters of output, as far as accelerate's own report reaches."""
        return self._tail.decode(errors="replace")

    def feed(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
        self._tail = (self._tail + data)[-20_000:]
        for piece in data.splitlines(keepends=True):
            self._line += piece
            if piece.endswith((b"\n", b"\r")):
                self._finish()

    def idle(self) -> None:
        """Show an unfinished line, such as a progress bar."""
        if not self.error and not self._line.startswith(b"error"):
            _show(self._line[self._shown :])
            self._shown = len(self._line)

    def release(self) -> None:
        """Show what is left of the last line."""
        _show(self._line[self._shown :])
        self._line, self._shown = b"", 0

    def _finish(self) -> None:
        if not self.error:
            if self._line.startswith(b"error: "):
                self.error = self._line[7:].decode(errors="replace").strip()
            else:
                _show(self._line[self._shown :])
        self._line, self._shown = b"", 0


def _show(data: bytes) -> None:
    if data:
        sys.stderr.write(data.decode(errors="replace"))
        sys.stderr.flush()


def _pump(process: subprocess.Popen[bytes], relay: _Relay, *, until: float) -> None:
    """Read until the output is closed, or the process is gone and its output is quiet.

    Raises:
        TimeoutError: `time.monotonic()` is past `until`.
    """
    assert process.stdout is not None
    descriptor = process.stdout.fileno()
    while True:
        if time.monotonic() > until:
            raise TimeoutError
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
