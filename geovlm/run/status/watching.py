"""Judges from outside whether a run goes on: from its files and, on its machine, its process.

Nothing is compared with the clock of another machine. The counter in `status.json` shows that a run
lives: it must change while it is watched. A process that is stopped by a signal writes nothing, but
keeps the lock of the folder.
"""

from __future__ import annotations

import time
from typing import Any, Literal, NamedTuple

from geovlm.run.folder import RunDir
from geovlm.run.status import identity, reading
from geovlm.run.status.identity import Life
from geovlm.run.status.words import clock, current

State = Literal["running", "paused", "silent", "killed", "stopped", "failed", "done"]
OVER: tuple[State, ...] = ("done", "failed", "killed", "stopped")
"""States in which nothing more comes."""
_BEATS = 3
"""Number of heartbeats that may be missed before a run counts as silent at the first look."""
_SILENT_S = 30.0
"""Seconds after which a run counts as silent whose heartbeat was seen."""
_SLOW = 5
"""Number of times that a step or batch may take longer than the longest so far."""
_SLOW_S = 60.0
"""Seconds that a step or batch may take, whatever the others took."""


class View(NamedTuple):
    """The state of a run as one look has shown it."""

    state: State
    why: str
    """Reason for the state, or what is unusual about it; one line, or empty."""
    slow: bool
    """True if the step or batch in progress takes unusually long."""
    record: dict[str, Any]
    """The contents of `status.json`."""

    def table(self) -> dict[str, Any]:
        """Return the view as JSON."""
        return {**self.record, "state": self.state, "why": self.why, "slow": self.slow}


class Watch:
    """Looks at one run again and again."""

    def __init__(self, run: RunDir) -> None:
        """Look at nothing yet."""
        self._run = run
        self._beat: tuple[object, ...] = ()
        self._seen = time.monotonic()
        self._changes = -1

    def settle(self) -> View:
        """Look until it is clear whether the run lives: at most three of its heartbeats.

        Raises:
            ConfigError: as `look`.
        """
        view = self.look()
        deadline = time.monotonic() + _BEATS * float(view.record["beat_s"]) + 0.5
        while self._is_unclear(view) and time.monotonic() < deadline:
            time.sleep(0.2)
            view = self.look()
        return view

    def look(self) -> View:
        """Return the state of the run.

        Raises:
            ConfigError: the folder holds no run, or none that has begun.
        """
        record = reading.read(self._run)
        process = record["process"]
        beat = (process["host"], process["pid"], record["attempt"], record["beat"])
        if beat != self._beat:
            self._beat, self._seen = beat, time.monotonic()
            self._changes += 1
        unseen = time.monotonic() - self._seen
        if record["state"] != "running":
            return View(record["state"], record["reason"], False, record)
        state, why = judge(
            identity.life(process),
            record,
            unseen_s=unseen,
            seen=self._changes > 0,
            old_s=self._old_s(),
            locked=self._run.is_locked,
        )
        pid = record["stage_pid"]
        if state == "running" and pid and identity.is_paused(pid, of=process):
            state, why = "paused", f"process {pid} of the stage is paused"
        still = record["still_s"] + unseen
        slow = state == "running" and is_slow(record, still_s=still)
        if slow and not why:
            most = clock(max(1.0, record["longest_s"]))
            why = f"no step or batch was finished for {clock(still)}, before it took at most {most}"
        return View(state, why, slow, record)

    def _old_s(self) -> float:
        """Return the age of the file by the file system's time and this machine's, seconds."""
        try:
            return time.time() - (self._run.path / reading.FILE).stat().st_mtime
        except OSError:
            return 0.0

    def _is_unclear(self, view: View) -> bool:
        """Return True if the next heartbeat would make a difference."""
        running = view.record["state"] == "running"
        return running and identity.life(view.record["process"]) == "unknown" and self._changes < 1


def judge(
    life: Life,
    record: dict[str, Any],
    *,
    unseen_s: float,
    seen: bool,
    old_s: float,
    locked: bool,
) -> tuple[State, str]:
    """Return the state of a run that has not ended by its own account, and the reason.

    Args:
        life: what this machine knows of the process that leads the run.
        record: the contents of `status.json`.
        unseen_s: seconds for which its counter has not changed before the reader's eyes.
        seen: the counter has changed before the reader's eyes.
        old_s: age of the file by the file system's time.
        locked: a process holds the lock of the folder.
    """
    process = record["process"]
    who = f"process {process['pid']} on {process['host']}"
    if life == "gone":
        return "killed", f"{who} is gone and left no word"
    if life == "paused":
        return "paused", f"{who} is paused"
    if life == "alive":
        full = "" if unseen_s < _SILENT_S else f"no news for {clock(unseen_s)}: is the disk full?"
        return "running", full
    if unseen_s < (_SILENT_S if seen else _BEATS * record["beat_s"]):
        return "running", ""
    silence = f"no heartbeat of {who} for {clock(unseen_s)}"
    if locked:
        return "paused", f"{silence}, and it lives: it holds the lock of the folder"
    if max(unseen_s, old_s) >= record["timeout_s"]:
        return "killed", f"no heartbeat of {who} for {clock(max(unseen_s, old_s))}"
    return "silent", f"{silence}: killed, or its disk is slow; watch longer to know"


def is_slow(record: dict[str, Any], *, still_s: float) -> bool:
    """Return True if a part is in progress and its count has stood still unusually long."""
    if current(record) is None:
        return False
    return bool(still_s > max(_SLOW_S, _SLOW * record["longest_s"]))
