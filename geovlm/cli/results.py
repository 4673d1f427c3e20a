"""The scores of a run on standard output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geovlm import results
from geovlm.cli import output


def print_results(metrics: Mapping[str, Any]) -> None:
    """Print one line per task and per plugin: primary metric with its interval, sampled reward."""
    stages = results.stage_names(metrics)
    columns = ["task", "metric", "n", *stages, *(f"{name} reward" for name in stages)]
    rows = []
    for row in results.table(metrics):
        cells = [row["cells"].get(stage) for stage in stages]
        rewards = ["-" if cell is None else f"{cell['reward']:.3f}" for cell in cells]
        rows.append([row["name"], row["primary"], row["n"], *map(_score, cells), *rewards])
    output.table(columns, rows)


def _score(cell: Mapping[str, Any] | None) -> str:
    """Return `0.712 [0.65, 0.77]`, without the interval where there is none."""
    if cell is None:
        return "-"
    interval = "" if cell["low"] is None else f" [{cell['low']:.2f}, {cell['high']:.2f}]"
    return f"{cell['value']:.3f}{interval}"
