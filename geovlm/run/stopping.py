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
"""Between two requests to stop: a process that is still importing does not hear the first."""


class StopRequest:
    """SIGTERM or a first Ctrl-C, noted and passed on to the workers; a second Ctrl-C ends all.

    As a context it takes both signals, which only the main thread can.
    """

    def __init__(self, *, worker: str) -> None:
        """Pass requests on to processes that were started as `python -m <worker>`."""
        self.signal: int | None = None
        """The first one that came."""
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
        """Ask as SIGTERM does; for one that came to another machine."""
        self.signal = signal.SIGTERM
        sys.stderr.write("stopping after this step or batch, as another machine does\n")
        sys.stderr.flush()

    def pass_on(self, process: subprocess.Popen[bytes]) -> None:
        """Send SIGTERM to a worker, or to those below a process, if a stop was asked for."""
        import psutil  # a dependency of accelerate

        if self.signal is None or time.monotonic() - self._passed_on < _AGAIN_S:
            return
        self._passed_on = time.monotonic()
        with contextlib.suppress(psutil.NoSuchProcess):
            top = psutil.Process(process.pid)
            for each in [top, *top.children(recursive=True)]:
                # what a worker forks to load data has its command line
                with contextlib.suppress(psutil.NoSuchProcess):
                    if self._is_worker(each) and not self._is_worker(each.parent()):
                        each.terminate()

    def _is_worker(self, process: psutil.Process | None) -> bool:
        argv = process.cmdline() if process is not None else []
        return ("-m", self._worker) in itertools.pairwise(argv)

    def _note(self, number: int, frame: object) -> None:
        if self.signal is None:
            self.signal = number  # first: the next one may come while the line is written
            again = "; Ctrl-C again ends it now" if number == signal.SIGINT else ""
            line = f"stopping after this step or batch{again}\n"
            os.write(2, line.encode())  # print may be at work already, and is not reentrant
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
