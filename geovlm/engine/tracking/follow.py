"""Passes what a run writes on to one tracker until the run ends.

What was passed on is in `tracking/<tracker>.json`, so a resumed run goes on where its tracker was.
A tracker that fails is opened again after a while and given what it has missed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geovlm.engine.tracking import about as described
from geovlm.engine.tracking import samples
from geovlm.engine.tracking.backends import Backend, End, folder
from geovlm.engine.tracking.entries import Entries, Entry
from geovlm.run.files import write_json
from geovlm.run.folder import RunDir

POLL_S = 2.0
"""Time between two looks at the files of the run, seconds."""
RETRY_S = (5.0, 15.0, 60.0)
"""Waits after a failure, the last one again and again, seconds."""


@dataclass
class Position:
    """The entries that a tracker has got."""

    path: Path
    memory: dict[str, str] = field(default_factory=dict)
    """The tracker's own, such as the id of its run."""
    step: int = 0
    """The last step."""
    sent: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Source -> the place of its last entry."""
    pictures: str = ""
    """The evaluation of which samples were shown."""

    @classmethod
    def read(cls, path: Path) -> Position:
        """Return the position in a file, or the beginning."""
        if not path.is_file():
            return cls(path)
        try:
            stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            sent = {source: (int(a), int(b)) for source, (a, b) in stored["sent"].items()}
            return cls(path, stored["memory"], stored["step"], sent, stored["pictures"])
        except (ValueError, KeyError, TypeError) as error:
            print(f"{path} cannot be read and is begun again: {error!r}", flush=True)
            return cls(path)

    def write(self) -> None:
        """Write the file."""
        kept = {"step": self.step, "sent": self.sent, "pictures": self.pictures}
        write_json(self.path, {"memory": self.memory, **kept})

    def lacks(self, entry: Entry) -> bool:
        """Return True if the tracker has not got an entry.

        A step that a resumed stage repeats counts as sent: no tracker can take values back.
        """
        return entry.source not in self.sent or entry.at > self.sent[entry.source]


class Follower:
    """A run and its tracker."""

    def __init__(
        self, run: RunDir, name: str, backend: Callable[[], Backend], *, say: Callable[[str], None]
    ) -> None:
        """Read where the tracker was; open nothing. `say` tells the user a line."""
        self._say = say
        self._run = run
        self._name = name
        self._make = backend
        self._backend: Backend | None = None
        self._entries = Entries(run)
        self._position = Position.read(folder(run.path) / f"{name}.json")
        self._failures = 0
        self._next_try = 0.0
        self._said = False

    def follow(self, end: Callable[[float], End | None], *, last_s: float = 45.0) -> bool:
        """Pass on until `end`, which waits some seconds, returns how the run ended.

        Returns True if the tracker has everything; after the end it is tried for `last_s` more.
        """
        how: End | None = None
        while how is None:
            self.pass_on()
            how = end(POLL_S)
        deadline = time.monotonic() + last_s
        self._next_try = 0.0
        while not self.pass_on(how=how) and time.monotonic() < deadline:
            time.sleep(1.0)
        left = self.missing()
        if left:
            print(f"{left} entries were not sent", flush=True)
        return not left

    def missing(self) -> int:
        """Return the number of entries that the tracker lacks."""
        return sum(map(self._position.lacks, self._entries.all()))

    def pass_on(self, *, how: End | None = None) -> bool:
        """Give the tracker what is new, and with `how` the end; returns True if that went well."""
        if time.monotonic() < self._next_try:
            return False
        try:
            self._pass_on(how)
        # any failure of a tracker: it must never end or slow the run
        except Exception as error:
            self._fail(error)
            return False
        if self._said and self._failures:
            self._say(f"track: {self._name} works again")
        self._failures = 0
        return True

    def _pass_on(self, how: End | None) -> None:
        if self._backend is None:
            backend = self._make()
            where = backend.open(described.of(self._run), self._position.memory)
            self._backend = backend
            self._position.write()
            if not self._failures:
                self._say(f"track: {self._name} {where}")
        new = [entry for entry in self._entries.all() if self._position.lacks(entry)]
        step = self._position.step
        for entry in new:
            step = max(step, entry.step)
            self._backend.log(entry.values, step=step)
        stage = self._entries.last_evaluation()
        shown = stage is not None and stage != self._position.pictures
        if stage is not None and shown:
            tasks = self._run.read_resolved()["task_names"]
            self._backend.show(samples.pictures(self._run, tasks, stage), step=step)
        if new or shown:
            self._backend.flush()
        if how is not None:
            self._backend.close(how)
            self._backend = None
        if new or shown:
            self._position.step = step
            self._position.sent |= {entry.source: entry.at for entry in new}
            self._position.pictures = stage or self._position.pictures
            self._position.write()

    def _fail(self, error: Exception) -> None:
        """Give the tracker up for a while; the first failure is told, all are in the log."""
        self._backend = None
        wait = RETRY_S[min(self._failures, len(RETRY_S) - 1)]
        self._next_try = time.monotonic() + wait
        self._failures += 1
        print(f"failure {self._failures}: {type(error).__name__}: {error}", flush=True)
        if not self._said:
            self._said = True
            self._say(
                f"warning: track: {self._name} failed: {_short(error)}; the run goes on, and what "
                "is missing is sent when it works again"
            )


def _short(error: Exception) -> str:
    """Return the first line of an error, cut; the whole one is in the log."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= 160 else f"{lines[0][:160]} …"
