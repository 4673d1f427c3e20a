"""Passes SIGTERM and Ctrl-C on to the workers of a stage, which then save and stop."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil

_AGAIN_S = 2.0
"""Seconds between two requests to stop: a process that still imports misses the first."""


class StopRequest:
    """A request to stop, by SIGTERM or Ctrl-C; a second Ctrl-C ends all processes.

    In its context both signals are caught, which only the main thread can do.
    """

    def __init__(self, *, worker: str) -> None:
        """Send requests to processes that were started as `python -m <worker>`."""
        self.signal: int | None = None
        """Number of the first signal."""
        self._worker = worker
        self._passed_on = -_AGAIN_S

    def __enter__(self) -> StopRequest:
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def ask(self) -> None:
        """Request a stop because another machine received a signal."""
        self.signal = signal.SIGTERM
        sys.stderr.write("stopping after this step or batch, as another machine does\n")
        sys.stderr.flush()

    def pass_on(self, process: subprocess.Popen[bytes]) -> None:
        """Send SIGTERM to the workers at or below a process, if a stop was requested."""
        import psutil  # a dependency of accelerate

        if self.signal is None or time.monotonic() - self._passed_on < _AGAIN_S:
            return
        self._passed_on = time.monotonic()
        with contextlib.suppress(psutil.NoSuchProcess):
            top = psutil.Process(process.pid)
            for each in [top, *top.children(recursive=True)]:
                # data loaders that a worker forks have the same command line
                with contextlib.suppress(psutil.NoSuchProcess):
                    if self._is_worker(each) and not self._is_worker(each.parent()):
                        each.terminate()

    def _is_worker(self, process: psutil.Process | None) -> bool:
        argv = process.cmdline() if process is not None else []
        return ("-m", self._worker) in itertools.pairwise(argv)

    def _note(self, number: int, frame: object) -> None:
        if self.signal is None:
            self.signal = number  # at once: the next signal may come during the write
            again = "; Ctrl-C again ends it now" if number == signal.SIGINT else ""
            line = f"stopping after this step or batch{again}\n"
            if os.isatty(2):  # a bar of two lines may be there, which is drawn again from above
                line = f"\n{line}\n"
            os.write(2, line.encode())  # print is not reentrant and may be running
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
