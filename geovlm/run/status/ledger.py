"""Counts the parts and stages of a run and their seconds, and what is left of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from geovlm.run.status.parts import Part, StageTime, remaining


class Ledger:
    """Parts and stages of a run, counted while it runs."""

    def __init__(
        self,
        parts: Sequence[Part],
        *,
        folders: Mapping[int, str],
        before: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin with planned parts; `before` is the record of an earlier attempt at the run.

        `folders` is position of a stage -> its folder.
        """
        record = before or {}
        known = {(each["stage"], each["name"]): Part.read(each) for each in record.get("parts", ())}
        self._before = known
        self._folders = dict(folders)
        self._parts = [known.get((part.stage, part.name), part) for part in parts]
        self._times = {
            each["stage"]: StageTime(each["seconds"], each["over"])
            for each in record.get("stages", ())
            if each["stage"] in folders and (each["seconds"] or each["over"])
        }
        self._elapsed_s = float(record.get("elapsed_s", 0.0))
        self._current: int | None = None
        self._began = self._stage_began = self._moved = time.monotonic()
        self._longest = 0.0
        self._reported: set[str] = set()

    def begin_stage(self, index: int) -> None:
        """Begin the time of a stage."""
        self._current = index
        self._stage_began = self._moved = time.monotonic()
        self._longest = 0.0
        self._reported = set()
        before = self._times.get(index, StageTime(0.0, False))
        self._times[index] = StageTime(before.seconds, False)

    def end_stage(self, *, done: bool) -> None:
        """End the time of the current stage."""
        assert self._current is not None
        index, self._current = self._current, None
        spent = time.monotonic() - self._stage_began
        self._times[index] = StageTime(self._times[index].seconds + spent, done)
        if done:
            self._end_parts(index)

    def skip_stage(self, index: int) -> None:
        """Count a stage as over that an earlier attempt has finished."""
        before = self._times.get(index, StageTime(0.0, True))
        self._times[index] = StageTime(before.seconds, True)
        self._end_parts(index)

    def take(self, counts: Sequence[Mapping[str, Any]]) -> None:
        """Take over the counts of the current stage, as its meter wrote them."""
        places = {(part.stage, part.name): place for place, part in enumerate(self._parts)}
        for count in counts:
            place = None if self._current is None else places.get((self._current, count["name"]))
            if place is None:
                continue  # not planned: nothing is known of its time
            part = self._parts[place]
            before = self._before.get((part.stage, part.name))
            changed = replace(
                part,
                total=count["total"],
                done=count["done"],
                fresh=count["fresh"] + (before.fresh if before else 0),
                seconds=count["seconds"] + (before.seconds if before else 0.0),
                over=count["over"],
                exact=True,
                detail=count["detail"],
            )
            begins = part.name not in self._reported
            self._reported.add(part.name)
            if begins or (changed.done, changed.over) != (part.done, part.over):
                self._move(first=begins or changed.over)
            self._parts[place] = changed
            for earlier in range(place):  # an evaluation that is scored already is not repeated
                self._parts[earlier] = replace(self._parts[earlier], over=True)

    def table(self) -> dict[str, Any]:
        """Return the counts, the times and what is left of them, as JSON."""
        now = time.monotonic()
        times = dict(self._times)
        if self._current is not None:
            spent = times[self._current].seconds + now - self._stage_began
            times[self._current] = StageTime(spent, False)
        elapsed = self._elapsed_s + now - self._began
        left = remaining(self._parts, times)
        percent = None
        if left.seconds is not None:
            percent = round(100 * elapsed / max(1e-9, elapsed + left.seconds), 1)
        return {
            "elapsed_s": round(elapsed, 1),
            "percent": None if percent is None else min(99.0, percent),
            "eta_s": None if left.seconds is None else round(left.seconds, 1),
            "eta_is_guess": left.guess,
            "stage": self._current,
            "stages": [
                {
                    "stage": index,
                    "folder": folder,
                    "seconds": round(times[index].seconds, 1) if index in times else 0.0,
                    "over": index in times and times[index].over,
                }
                for index, folder in self._folders.items()
            ],
            "parts": [part.table() for part in self._parts],
            "still_s": round(now - self._moved, 1),
            "longest_s": round(self._longest, 1),
        }

    def _move(self, *, first: bool) -> None:
        """Note that a count has changed, and the longest time between two changes of a part."""
        now = time.monotonic()
        self._longest = 0.0 if first else max(self._longest, now - self._moved)
        self._moved = now

    def _end_parts(self, index: int) -> None:
        self._parts = [
            replace(part, done=part.total, over=True) if part.stage == index else part
            for part in self._parts
        ]
