"""Sets published scores next to ours, by the same protocol, with reasons not to compare them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from geovlm.api import SetEntry
from geovlm.errors import DataError, UnknownNameError
from geovlm.score import published
from geovlm.score.published import PublishedRow

_NUMBER = re.compile(r"[0-9][0-9,]*")
_Score = Callable[[str, str, str], Mapping[str, Any] | None]


def by_protocol(
    answers: Path, *, protocol: str, resamples: int, seed: int
) -> dict[str, Any] | None:
    """Return the scores of `eval/<stage>/<task>.jsonl`, as a protocol publishes them.

    `protocol`, `rule`, `n`, `metrics`, `counts` (samples behind each metric), `ci95`, `lines`,
    `skipped` and `unreadable` (by reason), `left_out` (metric -> reason) and `notes`; or `protocol`
    and `unavailable`, the reason why it cannot score the file; `None` if the protocol's name is
    empty.
    """
    from geovlm.score.protocols import catalogue, records, scoring

    if not protocol:
        return None
    try:
        found = scoring.score(
            records.read(answers), catalogue.find(protocol), resamples=resamples, seed=seed
        )
    except (DataError, UnknownNameError) as error:
        return {"protocol": protocol, "unavailable": str(error)}
    return {
        "protocol": protocol,
        "rule": found.protocol.published_rule,
        "n": found.n,
        "metrics": found.published,
        "counts": found.counts,
        "ci95": {name: list(bounds) for name, bounds in found.ci95["published"].items()},
        "lines": found.lines,
        "skipped": found.skipped,
        "unreadable": found.unreadable,
        "left_out": found.left_out,
        "notes": found.notes,
    }


def rows(
    metrics: Mapping[str, Any], score: _Score, *, generated: bool = False
) -> list[dict[str, Any]]:
    """Return every published score of the evaluated tasks, with ours of the last stage.

    Each has `task`, `table`, `benchmark`, `model`, `metric`, `published`, `ours` with `ci95` and
    `n` (`None` where the protocol gives our answers no such score), `differs` (sentences: data,
    protocol, split, task), `truth` and `source`. `score` takes task, stage and protocol and
    returns the result of `by_protocol` for our answers; generated data cannot be compared.
    """
    known = lru_cache(score)
    return [
        _row(row, task, metrics, known, generated=generated)
        for task in metrics["tasks"]
        for row in published.rows(task)
    ]


def of_set(
    entries: Iterable[SetEntry],
    metrics: Mapping[str, Any],
    score: _Score,
    *,
    left_out: Mapping[str, str],
    generated: bool = False,
) -> list[dict[str, Any]]:
    """Return every published score of the benchmarks of a set, with ours, as `rows`.

    They have the order of the published tables. Benchmarks whose task was left out are there too,
    without ours; `left_out` holds the reasons.
    """
    known = lru_cache(score)
    tasks = {entry.benchmark: entry.task for entry in entries}
    found = []
    for row in published.rows():
        task = tasks.get(row.benchmark)
        if task is None:
            continue
        if task in metrics["tasks"]:
            found.append(_row(row, task, metrics, known, generated=generated))
        else:
            why = left_out.get(task, "not evaluated")
            without = {"stage": None, "differs": [f"{task} is left out: {why}"]}
            found.append(_table(row, task) | _ours({}, "") | without)
    return found


def _row(
    row: PublishedRow, task: str, metrics: Mapping[str, Any], score: _Score, *, generated: bool
) -> dict[str, Any]:
    """Return one published score beside that of a task's last stage."""
    stages = metrics["tasks"][task]["stages"]
    stage = next(reversed(stages))
    scores = score(task, stage, row.protocol) or {}
    ours = _ours(scores, row.metric)
    differs = _differences(stages[stage], row, scores=scores, n=ours["n"])
    first = ["our data are generated, not the benchmark"] if generated else []
    return _table(row, task) | ours | {"stage": stage, "differs": [*first, *differs]}


def _table(row: PublishedRow, task: str) -> dict[str, Any]:
    """Return a published score as a row, without ours."""
    return {
        "task": task,
        "table": row.table,
        "benchmark": row.benchmark,
        "model": row.model,
        "metric": row.metric,
        "published": row.value,
        "truth": row.truth,
        "source": row.source,
    }


def _ours(scores: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """Return our value of a metric, its interval and the number of samples behind it."""
    if metric not in scores.get("metrics", {}):
        return {"ours": None, "ci95": None, "n": None}
    return {
        "ours": scores["metrics"][metric],
        "ci95": scores["ci95"].get(metric),
        "n": scores["counts"].get(metric, scores["n"]),
    }


def _differences(
    entry: Mapping[str, Any], row: PublishedRow, *, scores: Mapping[str, Any], n: int | None
) -> list[str]:
    """Return the reasons why the two scores cannot be compared."""
    differs = []
    if entry["protocol"] and entry["protocol"] != row.protocol:
        differs.append(f"protocol: theirs {row.protocol}; our task has {entry['protocol']}")
    skipped = sum(scores.get("skipped", {}).values())
    if skipped:
        differs.append(f"{skipped} of our {scores['lines']} records are skipped")
    differs += scores.get("notes", [])
    if n is None:
        left_out = scores.get("left_out", {})
        reason = f"it {left_out[row.metric]}" if row.metric in left_out else ""
        none = f"{row.protocol} gives our answers no {row.metric!r}"
        differs.append(f"no such score of ours: {scores.get('unavailable') or reason or none}")
    elif not _same_split(row.split, entry["split"], n):
        differs.append(f"split: theirs {row.split}; ours {entry['split']}, {n} samples")
    if row.note:
        differs.append(row.note)
    return differs


def _same_split(theirs: str, ours: str, n: int) -> bool:
    """True if a published split, such as `test, 1,093 images`, is ours by name and size."""
    name, _, rest = theirs.partition(",")
    sizes = [int(number.replace(",", "")) for number in _NUMBER.findall(rest)]
    return name == ours and sizes == [n]
