"""Counts what a stage does, in `progress.json` in its folder, on the stage's first process.

A thread writes the file, at most once a second: neither a step nor an answer waits for the disk.
The process that leads the run reads it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from geovlm.files.jsontext import dumps
from geovlm.run import files

FILE = "progress.json"
"""Name of the file in the folder of a stage, while the stage runs."""
_WRITE_S = 1.0
"""Shortest time between two writes, seconds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Count:
    """Progress of one part."""

    name: str
    """As in `geovlm.run.status.parts.Part`."""
    unit: str
    total: int
    done: int
    fresh: int = 0
    """Units made by this process and its companions; the others are from an earlier attempt."""
    seconds: float = 0.0
    over: bool = False
    detail: str = ""


class Meter:
    """Counts the parts of a stage; without a path, as on the other processes, does nothing."""

    def __init__(
        self, path: Path | None = None, *, memory: Callable[[], Mapping[str, float]] = dict
    ) -> None:
        """Write to `path`; `memory` returns name -> GiB whenever the file is written."""
        self._path = path
        self._memory = memory
        self._counts: list[Count] = []
        self._facts: dict[str, Any] = {}
        self._doing = "loading"
        self._scale = 1.0
        self._own = 0
        self._own_fresh = 0
        self._began = self._moved = time.monotonic()
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(
        self,
        name: str,
        *,
        unit: str,
        total: int,
        done: int = 0,
        scale: float = 1.0,
        detail: str = "",
    ) -> None:
        """Begin a part of `total` units, of which `done` are there from an earlier attempt.

        `scale` is the number of units of all processes for each one of this process.
        """
        with self._lock:
            self._counts.append(Count(name=name, unit=unit, total=total, done=done, detail=detail))
            self._scale, self._own, self._own_fresh = scale, done, 0
            self._began = self._moved = time.monotonic()
            self._doing = ""
        self._tell()

    def advance(self, n: int, *, fresh: bool = True) -> None:
        """Count `n` more units of this process; not `fresh` are those of an earlier attempt."""
        with self._lock:
            if not self._counts:
                return
            last = self._counts[-1]
            self._own += n
            if fresh:
                self._own_fresh += n
            else:  # they took no time
                self._began += time.monotonic() - self._moved
            self._moved = time.monotonic()
            self._counts[-1] = dataclasses.replace(
                last,
                done=min(last.total, round(self._own * self._scale)),
                fresh=round(self._own_fresh * self._scale),
                seconds=self._moved - self._began,
            )
        self._tell()

    def note(self, **facts: Any) -> None:
        """Add facts of the part in progress, such as the loss."""
        with self._lock:
            self._facts |= facts
        self._tell()

    def say(self, doing: str) -> None:
        """Say what the stage does between two parts, as a participle."""
        with self._lock:
            self._doing = doing
        self._tell()

    def end(self, *, then: str = "") -> None:
        """End the part; `then` says what follows, as a participle."""
        with self._lock:
            if self._counts:
                self._counts[-1] = dataclasses.replace(self._counts[-1], over=True)
            self._doing = then
        self._tell()

    def close(self) -> None:
        """Write what is not written yet, and stop."""
        self._closing.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join(timeout=5)  # a disk that hangs must not keep the process

    def _tell(self) -> None:
        if self._path is None:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_writing, daemon=True)
            self._thread.start()
        self._news.set()

    def _keep_writing(self) -> None:
        while not self._closing.is_set():
            self._news.wait()
            self._news.clear()
            self._write()
            self._closing.wait(_WRITE_S)
        if self._news.is_set():
            self._write()

    def _write(self) -> None:
        assert self._path is not None
        with self._lock:
            record = {
                "pid": os.getpid(),
                "doing": self._doing,
                "parts": [dataclasses.asdict(each) for each in self._counts],
                **self._facts,
            }
        memory = {name: round(gib, 2) for name, gib in self._memory().items()}
        with contextlib.suppress(OSError):  # a full disk must not end what works
            files.write_text(self._path, dumps({**record, "memory": memory}), sync=False)
