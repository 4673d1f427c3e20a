"""Scores all answers to one task: its records, its entry of `metrics.json`, its controls."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from geovlm.api import Prediction
from geovlm.engine.evaluation import blind, frames, pairs
from geovlm.engine.evaluation.judge import Judge
from geovlm.engine.rows.rows import Row
from geovlm.plugins import profiles

BASELINES = ("text_only", "shuffled")
"""Blind baselines that the model itself answers."""
ONE_SCENE = "all samples show the same images"


@dataclass(frozen=True, kw_only=True)
class Majority:
    """The most frequent answers of the training split, as a baseline."""

    answers: Mapping[str, str] = field(default_factory=dict)
    """Question type -> most frequent answer; see `blind.majority`."""
    unavailable: str = ""
    """The reason why there is no training split to count; empty if there is one."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """All answers to the evaluated rows of one task, complete before anything is scored."""

    rows: Sequence[Row]
    greedy: Sequence[str]
    """Completion of each row at temperature 0."""
    sampled: Sequence[str]
    """Completion of each row at the temperature of the evaluation."""
    control_rows: Sequence[Row] = ()
    """The rows on which controls are scored."""
    controls: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Baseline or probe -> row key -> completion; an entry may lack rows."""
    majority: Majority | None = None
    """`None` if the run has no baselines."""
    earlier: tuple[str, Sequence[str]] | None = None
    """Name of the evaluation before this one, and its completion of each row."""


class Scored(NamedTuple):
    """The scores of one task."""

    records: list[dict[str, Any]]
    """Lines of `eval/<name>/<task>.jsonl`."""
    entry: dict[str, Any]
    """Scores of the task's entry of `metrics.json`; `published` is left for the file's reader."""
    controls: dict[str, Any]
    """`blind` and `probes` of `metrics.json`, as far as there are answers for them."""


def score(answers: Answers, judge: Judge, *, name: str, last: bool) -> Scored:
    """Return the scores of one task; only the run's last evaluation has a gain over `majority`.

    Raises:
        MetricError: a metric raised.
    """
    rows = answers.rows
    greedy, sampled = (judge.rewards(rows, each) for each in (answers.greedy, answers.sampled))
    predictions = judge.predictions(rows, answers.greedy)
    entry: dict[str, Any] = {
        "metrics": judge.metrics(predictions),
        "ci95": judge.intervals(rows, predictions),
        "sampled_reward": sum(total for total, _ in sampled) / len(rows),
        "greedy_reward": sum(total for total, _ in greedy) / len(rows),
        "sampled_rewards": _means([parts for _, parts in sampled]),
        "sampled_rewards_n": _applying([parts for _, parts in sampled]),
        "published": None,
    }
    fitted = frames.fits(rows, answers.greedy, profile=judge.profile)
    if fitted:
        entry["box_frames"] = fitted
    if answers.earlier is not None:
        stage, texts = answers.earlier
        before = judge.predictions(rows, texts)
        entry["change"] = {"against": stage, "metrics": judge.changes(rows, before, predictions)}
    records = [
        {
            "task": row.task,
            "sample_id": row.sample_id,
            "images": [json.loads(reference) for reference in row.images],
            "question": row.question,
            "answer": row.answer,
            "reasoning": row.reasoning,
            "target": dict(row.target),
            "image_sizes": row.image_sizes,
            "input_sizes": row.input_sizes,
            "picture_sizes": row.picture_sizes,
            "meta": dict(row.meta),
            "completion": answers.greedy[i],
            **profiles.to_record(judge.profile),
            "rewards": greedy[i][1],
            "sampled": {"completion": answers.sampled[i], "rewards": sampled[i][1]},
        }
        for i, row in enumerate(rows)
    ]
    return Scored(records, entry, _controls(answers, judge, predictions, name=name, last=last))


def _controls(
    answers: Answers, judge: Judge, predictions: Sequence[Prediction], *, name: str, last: bool
) -> dict[str, Any]:
    by_key = {row.key: one for row, one in zip(answers.rows, predictions, strict=True)}
    rows = answers.control_rows
    seeing = [by_key[row.key] for row in rows]
    predicted: dict[str, Sequence[Prediction]] = {"real": seeing}
    for control, texts in answers.controls.items():
        if all(row.key in texts for row in rows):
            predicted[control] = judge.predictions(rows, [texts[row.key] for row in rows])
    found: dict[str, Any] = {}
    if answers.majority is not None:
        found["blind"] = {"majority": _majority(answers, judge, predictions, name=name, last=last)}
    for baseline in BASELINES:
        if baseline in predicted:
            found["blind"][baseline] = _baseline(
                judge, rows, predicted[baseline], seeing, name=name, compare=True
            )
        elif baseline in answers.controls:
            found["blind"][baseline] = {"stage": name, "unavailable": ONE_SCENE}
    if rows and pairs.PROBES[0] in predicted:
        found["probes"] = {"stage": name, **pairs.report(judge, predicted)}
    return found


def _majority(
    answers: Answers, judge: Judge, seeing: Sequence[Prediction], *, name: str, last: bool
) -> dict[str, Any]:
    majority = answers.majority
    assert majority is not None
    if majority.unavailable:
        return {"stage": name, "unavailable": majority.unavailable}
    texts = blind.majority_texts(answers.rows, majority.answers)
    without = judge.predictions(answers.rows, texts)
    scored = _baseline(judge, answers.rows, without, seeing, name=name, compare=last)
    return {**scored, "answers": dict(majority.answers)}


def _baseline(
    judge: Judge,
    rows: Sequence[Row],
    without: Sequence[Prediction],
    seeing: Sequence[Prediction],
    *,
    name: str,
    compare: bool,
) -> dict[str, Any]:
    """Return the scores of a baseline, and (with `compare`) the model's gain on the same rows."""
    return {
        "stage": name,
        "n": len(rows),
        "metrics": judge.metrics(without),
        "model": judge.metrics(seeing),
        "gain": judge.changes(rows, without, seeing) if compare else {},
    }


def _applying(parts: Sequence[Mapping[str, float | None]]) -> dict[str, int]:
    """Return the number of rows that each reward applies to."""
    return Counter(name for each in parts for name, value in each.items() if value is not None)


def _means(parts: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """Return the mean of each reward over the rows that it applies to."""
    sums: dict[str, list[float]] = {}
    for each in parts:
        for reward, value in each.items():
            if value is not None:
                sums.setdefault(reward, []).append(value)
    return {reward: sum(values) / len(values) for reward, values in sums.items()}
