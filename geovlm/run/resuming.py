"""Checks if a folder can start or resume a run, and carries values over from its start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geovlm.errors import ConfigError, DataError
from geovlm.run.folder import LOCK, MACHINES, RunDir

MAY_CHANGE = frozenset(
    {"processes", "gpus", "machines", "machine_timeout_s", "parallel", "device"}
    | {"output", "preset", "health", "timeout_s"}
)
"""Fields of the configuration whose values a resumed run may change."""


def refuse_taken(folder: Path) -> None:
    """Refuse a folder that holds another run, or anything else.

    A run that stopped without progress may be started again.

    Raises:
        ConfigError: the folder holds something.
    """
    run = RunDir(folder)
    if run.is_run and not run.has_progress:
        return
    if run.is_run:
        raise ConfigError(
            f"{folder} holds a run already", hint="--resume continues it; or give another --output"
        )
    known = (LOCK, MACHINES)
    strange = folder.is_dir() and any(each.name not in known for each in folder.iterdir())
    if folder.is_file() or strange:
        raise ConfigError(f"{folder} is not an empty folder", hint="give another --output")


def refuse_absent(directory: RunDir) -> None:
    """Refuse to resume a run that was never started."""
    if not directory.is_run:
        raise ConfigError(
            f"nothing to resume: {directory.path} holds no run",
            hint="leave out --resume to start one",
        )


def refuse_another(directory: RunDir, config: Mapping[str, Any]) -> None:
    """Refuse to resume a run with other settings.

    Raises:
        ConfigError: the folder holds no run, or one that was started with other settings.
    """
    refuse_absent(directory)
    differing = differences(directory.read_resolved()["config"], config)
    if differing:
        raise ConfigError(
            f"{directory.path} was started with other values of {', '.join(differing)}",
            hint="resume with the same values, or start another run with --output",
        )


def differences(before: Any, after: Any, *, path: str = "") -> list[str]:
    """Return the paths of all keys whose values differ, except those of `MAY_CHANGE`."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = [key for key in {**before, **after} if path or key not in MAY_CHANGE]
        pairs = {key: (before.get(key), after.get(key)) for key in keys}
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = dict(enumerate(zip(before, after, strict=True)))
    else:
        return [] if before == after else [path.lstrip(".")]
    return [
        found for key, (a, b) in pairs.items() for found in differences(a, b, path=f"{path}.{key}")
    ]


def take_over(directory: RunDir, resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Return the new content of `resolved.json`: this plan, with the ranks of the run's start.

    Raises:
        DataError: the number of samples of a task has changed since the start.
    """
    if not (directory.is_run and directory.has_progress):
        return {**resolved, "started_with": resolved["world_sizes"]}
    before = directory.read_resolved()
    for task, splits in resolved["samples"].items():
        for split, n in splits.items():
            check_samples(task, split, n, before=before)
    return {**resolved, "started_with": before["started_with"]}


def check_samples(task: str, split: str, n: int, *, before: Mapping[str, Any]) -> None:
    """Refuse a split of another size than `before`: rows would be trained on twice or never.

    Raises:
        DataError: the number of samples has changed since the start.
    """
    expected = before.get("samples", {}).get(task, {}).get(split)
    if expected is not None and expected != n:
        root = ", ".join(before["data_roots"].values())
        raise DataError(
            f"task {task!r} has {n} samples in split {split!r}, the run was started with "
            f"{expected}",
            hint=f"restore the files under {root}, or start another run",
        )
