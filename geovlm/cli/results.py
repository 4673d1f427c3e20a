"""The scores of a run as a table: every task, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geovlm.cli import output

_ORDER = ("base", "sft", "grpo")


def print_results(metrics: Mapping[str, Any]) -> None:
    """Print one line per task: primary metric with its 95 % interval, and the sampled reward."""
    tasks = metrics["tasks"]
    stages = [name for name in _ORDER if any(name in task["stages"] for task in tasks.values())]
    columns = ["task", "metric", "n", *stages]
    columns += [f"{name} reward" for name in stages]
    rows = []
    for name, task in tasks.items():
        entries = [task["stages"].get(stage) for stage in stages]
        n = next((entry["n"] for entry in entries if entry is not None), 0)
        scores = [_score(entry, task["primary"]) for entry in entries]
        rewards = ["-" if entry is None else f"{entry['sampled_reward']:.3f}" for entry in entries]
        rows.append([name, task["primary"], n, *scores, *rewards])
    output.table(columns, rows)


def _score(entry: Mapping[str, Any] | None, metric: str) -> str:
    """Return `0.712 [0.65, 0.77]`."""
    if entry is None or metric not in entry["metrics"]:
        return "-"
    text = f"{entry['metrics'][metric]:.3f}"
    bounds = entry["ci95"].get(metric)
    return text if bounds is None else f"{text} [{bounds[0]:.2f}, {bounds[1]:.2f}]"
