"""What a resumed run takes over from its start, and what must not have changed since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geovlm.errors import DataError
from geovlm.run.folder import RunDir


def take_over(directory: RunDir, resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `resolved.json` is to hold: this plan's, on the batches of the run's start.

    Args:
        directory: the run directory, where an earlier start may have left something.
        resolved: of the plan that is about to run.

    Raises:
        DataError: a task has other samples than when the run was started.
    """
    if not (directory.is_run and directory.has_progress):
        return {**resolved, "started_with": resolved["world_sizes"]}
    before = directory.read_resolved()
    for task, splits in resolved["samples"].items():
        for split, n in splits.items():
            check_samples(task, split, n, before=before)
    return {**resolved, "started_with": before["started_with"]}


def check_samples(task: str, split: str, n: int, *, before: Mapping[str, Any]) -> None:
    """Refuse a split that has changed: rows would be trained on twice or never.

    Args:
        task: its name.
        split: its split.
        n: how many samples there are today.
        before: `resolved.json` of the run.

    Raises:
        DataError: there are more or fewer than when the run was started.
    """
    expected = before.get("samples", {}).get(task, {}).get(split)
    if expected is not None and expected != n:
        root = ", ".join(before["data_roots"].values())
        raise DataError(
            f"task {task!r} has {n} samples in split {split!r}, the run was started with "
            f"{expected}",
            hint=f"restore the files under {root}, or start another run",
        )
