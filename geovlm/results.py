"""The scores of a run as a table: every task and the mean of every plugin, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def stage_names(metrics: Mapping[str, Any]) -> list[str]:
    """Return what was evaluated, in that order: `base`, `sft`, `grpo`, or as far as the run got."""
    names = (name for task in metrics["tasks"].values() for name in task["stages"])
    return list(dict.fromkeys(names))


def table(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the result table: every task, then the means of plugins with several.

    Each row has `name`, `primary`, `n`, `split`, `mean` (whether it is one) and `cells`: stage ->
    `value`, `low`, `high`, `reward`.
    """
    rows: list[dict[str, Any]] = []
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, task in metrics["tasks"].items():
        cells = {}
        for stage, entry in task["stages"].items():
            low, high = entry["ci95"].get(task["primary"], (None, None))
            value = entry["metrics"][task["primary"]]
            cells[stage] = {
                "value": value,
                "low": low,
                "high": high,
                "reward": entry["sampled_reward"],
            }
        first: Mapping[str, Any] = next(iter(task["stages"].values()), {})
        row = {
            "name": name,
            "primary": task["primary"],
            "n": first.get("n", 0),
            "split": first.get("split", ""),
            "mean": False,
            "cells": cells,
        }
        rows.append(row)
        groups.setdefault(name.partition("/")[0], []).append(row)
    for plugin, many in groups.items():
        if len(many) > 1:
            rows.append(_mean_row(plugin, many, stages=stage_names(metrics)))
    return rows


def _mean_row(
    plugin: str, rows: Sequence[dict[str, Any]], *, stages: Sequence[str]
) -> dict[str, Any]:
    cells = {}
    for stage in stages:
        found = [row["cells"][stage] for row in rows if stage in row["cells"]]
        if len(found) == len(rows):
            cells[stage] = {
                "value": sum(cell["value"] for cell in found) / len(found),
                "low": None,
                "high": None,
                "reward": sum(cell["reward"] for cell in found) / len(found),
            }
    return {
        "name": f"{plugin}: mean of {len(rows)} tasks",
        "primary": "primary",
        "n": sum(row["n"] for row in rows),
        "split": "",
        "mean": True,
        "cells": cells,
    }
