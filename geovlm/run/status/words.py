"""The state of a run in words: pieces of the lines that the run and `watch` print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TASKS = 4
"""Largest number of tasks on one line."""


def clock(seconds: float) -> str:
    """Return a duration as minutes and seconds, with hours from one hour on: `3:10`, `1:03:10`."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def current(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the part in progress, `None` between two parts."""
    if record["stage"] is None or record["doing"]:
        return None
    own = (part for part in record["parts"] if part["stage"] == record["stage"])
    return next((part for part in own if not part["over"]), None)


def place(record: Mapping[str, Any], index: int | None = None) -> str:
    """Return `stage 2 of 3 (probe)`: of the stage at a position, or the one in progress."""
    wanted = record["stage"] if index is None else index
    folders = [each["folder"] for each in record["stages"]]
    number = next(n for n, each in enumerate(record["stages"], 1) if each["stage"] == wanted)
    kind = folders[number - 1].partition("-")[2] or folders[number - 1]
    return f"stage {number} of {len(folders)} ({kind})"


def counted(part: Mapping[str, Any]) -> str:
    """Return how far a part is: `step 5 of 12`, `evaluation of sft, answer 64 of 384`."""
    what = f"{part['unit']} {part['done']} of {part['total']}"
    return f"{_of(part)}{what}"


def finished(part: Mapping[str, Any]) -> str:
    """Return what a finished part did and how long it took: `12 steps in 0:21`."""
    plural = "" if part["done"] == 1 else "s"
    return f"{_of(part)}{part['done']} {part['unit']}{plural} in {clock(part['seconds'])}"


def left(record: Mapping[str, Any]) -> str:
    """Return the share of the run that is done and the time that all of it still needs."""
    if record["eta_s"] is None:
        return "time left in all not known yet"
    time = clock(record["eta_s"])
    if record["eta_is_guess"]:
        return f"{record['percent']:.0f} %, {time} left in all (a guess)"
    return f"{record['percent']:.0f} %, {time} left in all"


def notes(record: Mapping[str, Any]) -> str:
    """Return the last loss, or the mean rewards by task and the share of groups without signal."""
    part = current(record)
    if part is None or part["name"] != "train":
        return ""
    if part["kind"] == "sft":
        return "" if record["loss"] is None else f"loss {record['loss']:.3f}"
    if not record["rewards"]:
        return ""
    shown = [f"{task} {each['mean']:.2f}" for task, each in record["rewards"].items()]
    more = [f"{len(shown) - _TASKS} more tasks"] if len(shown) > _TASKS else []
    signal = []
    if record["no_signal"] is not None:
        signal = [f"no signal {record['no_signal']['mean']:.0%}".replace("%", " %")]
    return f"reward {', '.join([*shown[:_TASKS], *more, *signal])}"


def _of(part: Mapping[str, Any]) -> str:
    """Return which part it is, where the stage does not say it."""
    kind, _, model = part["name"].partition(" ")
    return f"evaluation of {model}, " if kind == "evaluate" else ""
