"""Compares what GRPO optimises between two stages: the total reward of sampled answers.

A sample counts by the mean total of its sampled answers, and the tests are those of metrics: both
stages answer the same samples, and whole images or events are drawn and swapped.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from geovlm.engine.evaluation.judge import clusters
from geovlm.engine.rows.rows import Row
from geovlm.files.jsontext import dumps
from geovlm.run.files import JsonLines
from geovlm.run.folder import RunDir
from geovlm.score import bootstrap


class Part(NamedTuple):
    """The sampled answers of one task after two stages."""

    rows: Sequence[Row]
    before: Sequence[Sequence[float]]
    """Total rewards of each row's sampled answers after the earlier stage."""
    after: Sequence[Sequence[float]]
    """The same after the later stage."""


def change(parts: Mapping[str, Part], *, resamples: int, seed: int) -> dict[str, Any] | None:
    """Return the change of the mean total reward as `difference`, `ci95`, `p`.

    Of several tasks it is the mean of their changes, each with the same weight. `None` if all rows
    are one group.
    """
    names = clusters([row for part in parts.values() for row in part.rows]).names
    sides = [
        _counts({task: part.before for task, part in parts.items()}),
        _counts({task: part.after for task, part in parts.items()}),
    ]
    pair = bootstrap.of_sums(
        [*sides[0], *sides[1]],
        lambda sums: {"reward": _mean_over_tasks(sums, list(parts))},
        clusters=[(side, name) for side in (0, 1) for name in names],
    )
    found = bootstrap.changes(pair, resamples=resamples, seed=seed).get("reward")
    if found is None:
        return None
    return {"difference": found.difference, "ci95": [found.low, found.high], "p": found.p}


def totals(record: Mapping[str, Any]) -> list[float]:
    """Return the total rewards of the sampled answers of a line of `eval/<stage>/<task>.jsonl`."""
    return [each["reward"] for each in record["sampled"]]


def pooled(run: RunDir, *, name: str, resamples: int, seed: int) -> dict[str, Any] | None:
    """Return the change over all tasks of an evaluation, from the run's files.

    It is that of `change`, with `against`, the stage before, and `tasks`, their number. `None` if
    there is no stage before.
    """
    against = {
        task: entry["stages"][name]["change"]["against"]
        for task, entry in run.read_metrics()["tasks"].items()
        if "change" in entry["stages"].get(name, {})
    }
    if not against:
        return None
    before = next(iter(against.values()))
    parts = {task: part(run, task, before, name) for task in against if against[task] == before}
    found = change(parts, resamples=resamples, seed=seed)
    return None if found is None else {"against": before, **found, "tasks": len(parts)}


def part(run: RunDir, task: str, before: str, after: str) -> Part:
    """Return the sampled answers of a task after two stages, read from the run's files."""
    earlier = {
        record["sample_id"]: totals(record)
        for record in JsonLines(run.eval_file(task, before)).records()
    }
    records = JsonLines(run.eval_file(task, after)).read()
    return Part(
        rows=[
            Row(
                task=task,
                sample_id=record["sample_id"],
                images=tuple(map(dumps, record["images"])),
                question=record["question"],
                image_sizes=record["image_sizes"],
                input_sizes=record["input_sizes"],
                meta=record["meta"],
            )
            for record in records
        ],
        before=[earlier[record["sample_id"]] for record in records],
        after=[totals(record) for record in records],
    )


def interval(
    rows: Sequence[Row], rewards: Sequence[Sequence[float]], *, resamples: int, seed: int
) -> list[float] | None:
    """Return the 95 % interval of the mean total reward of one task; `None` of a single group."""
    statistic = bootstrap.of_sums(
        _counts({"": rewards}),
        lambda sums: {"reward": _mean_over_tasks(sums, [""])},
        clusters=clusters(rows).names,
    )
    bounds = bootstrap.intervals(statistic, resamples=resamples, seed=seed).get("reward")
    return None if bounds is None else list(bounds)


def _counts(rewards: Mapping[str, Sequence[Sequence[float]]]) -> list[dict[str, float]]:
    """Return what each row adds to the sums of its task."""
    return [
        {f"sum {task}": statistics.fmean(answers), f"n {task}": 1.0}
        for task, many in rewards.items()
        for answers in many
    ]


def _mean_over_tasks(sums: Mapping[str, Any], tasks: Sequence[str]) -> Any:
    """Return the mean over the tasks of their mean; NaN where a task was not drawn at all."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return sum(sums[f"sum {task}"] / sums[f"n {task}"] for task in tasks) / len(tasks)
