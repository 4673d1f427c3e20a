"""Scores all answers to one task: its records, its entry of `metrics.json`, its controls."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from geovlm.api import Prediction
from geovlm.engine.evaluation import blind, facts, frames, orders, pairs, sampled
from geovlm.engine.evaluation.judge import Judge
from geovlm.engine.rows.rows import Row
from geovlm.plugins import profiles

BASELINES = ("text_only", "shuffled")
"""Blind baselines that the model itself answers."""
ONE_SCENE = "all samples show the same images"

Rewarded: TypeAlias = tuple[float, dict[str, float | None]]
"""Weighted total of a completion, as GRPO sums it, and the value of every reward."""


@dataclass(frozen=True, kw_only=True)
class Majority:
    """The most frequent answers of the training split, as a baseline."""

    answers: Mapping[str, str] = field(default_factory=dict)
    """Question type -> most frequent answer; see `blind.majority`."""
    unavailable: str = ""
    """The reason why there is no training split to count; empty if there is one."""


class Earlier(NamedTuple):
    """The answers to the same rows after an earlier stage."""

    stage: str
    """Name of the evaluation."""
    greedy: Sequence[str]
    """Completion of each row at temperature 0."""
    sampled: Sequence[Sequence[float]]
    """Total rewards of each row's sampled completions."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """All answers to the evaluated rows of one task, complete before anything is scored."""

    rows: Sequence[Row]
    greedy: Sequence[str]
    """Completion of each row at temperature 0."""
    sampled: Sequence[Sequence[str]]
    """Completions of each row at the temperature of the evaluation, one or several."""
    cut: Sequence[bool]
    """True for each row whose greedy completion has the longest length and no end."""
    control_rows: Sequence[Row] = ()
    """The rows on which controls are scored."""
    permuted: Sequence[Row] = ()
    """Those of them that are also asked with their choices in another order, as asked then."""
    controls: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Baseline or probe -> row key -> completion; an entry may lack rows."""
    majority: Majority | None = None
    """`None` if the run has no baselines."""
    earlier: Earlier | None = None
    """The evaluation before this one."""


class Scored(NamedTuple):
    """The scores of one task."""

    records: list[dict[str, Any]]
    """Lines of `eval/<name>/<task>.jsonl`."""
    entry: dict[str, Any]
    """Scores of the task's entry of `metrics.json`; `published` is left for the file's reader."""
    controls: dict[str, Any]
    """`higher_is_better`, `blind`, `choices` and `probes` of `metrics.json`, as far as there are
    answers."""


def score(answers: Answers, judge: Judge, *, name: str, last: bool) -> Scored:
    """Return the scores of one task; only the run's last evaluation has a gain over `majority`.

    Raises:
        MetricError: a metric raised.
    """
    rows, per_row = answers.rows, len(answers.sampled[0])
    greedy = judge.rewards(rows, answers.greedy)
    flat = judge.rewards(
        [row for row in rows for _ in range(per_row)],
        [text for texts in answers.sampled for text in texts],
    )
    drawn = [flat[i : i + per_row] for i in range(0, len(flat), per_row)]
    totals = [[total for total, _ in each] for each in drawn]
    predictions = judge.predictions(rows, answers.greedy)
    chance = {"resamples": judge.resamples, "seed": judge.seed}
    entry: dict[str, Any] = {
        "metrics": judge.metrics(predictions),
        "ci95": judge.intervals(rows, predictions),
        "sampled_reward": statistics.fmean(total for total, _ in flat),
        "sampled_reward_ci95": sampled.interval(rows, totals, **chance),
        "greedy_reward": statistics.fmean(total for total, _ in greedy),
        "sampled_rewards": _means([parts for _, parts in flat]),
        "sampled_rewards_n": _applying([parts for _, parts in flat]),
        "unreadable": facts.unreadable(answers.greedy),
        "cut": sum(answers.cut) / len(rows),
        "published": None,
    }
    entry |= {
        key: found
        for key, found in {
            "objects": facts.objects(rows),
            "box_frames": frames.fits(rows, answers.greedy, profile=judge.profile),
        }.items()
        if found
    }
    if answers.earlier is not None:
        before = judge.predictions(rows, answers.earlier.greedy)
        part = sampled.Part(rows=rows, before=answers.earlier.sampled, after=totals)
        entry["change"] = {
            "against": answers.earlier.stage,
            "metrics": judge.changes(rows, before, predictions),
            "sampled_reward": sampled.change({judge.task.name: part}, **chance),
        }
    controls = _controls(answers, judge, predictions, name=name, last=last)
    return Scored(
        [
            _record(row, judge, i, answers=answers, greedy=greedy[i], drawn=drawn[i])
            for i, row in enumerate(rows)
        ],
        entry,
        {"higher_is_better": judge.higher_is_better(predictions), **controls},
    )


def _record(
    row: Row,
    judge: Judge,
    number: int,
    *,
    answers: Answers,
    greedy: Rewarded,
    drawn: Sequence[Rewarded],
) -> dict[str, Any]:
    """Return the line of one row: what was asked, what was answered, what it earned."""
    return {
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
        "completion": answers.greedy[number],
        **profiles.to_record(judge.profile),
        "rewards": greedy[1],
        "reward": greedy[0],
        "sampled": [
            {"completion": each, "rewards": parts, "reward": total}
            for each, (total, parts) in zip(answers.sampled[number], drawn, strict=True)
        ],
    }


def _controls(
    answers: Answers, judge: Judge, predictions: Sequence[Prediction], *, name: str, last: bool
) -> dict[str, Any]:
    by_key = {row.key: one for row, one in zip(answers.rows, predictions, strict=True)}
    rows = answers.control_rows
    seeing = [by_key[row.key] for row in rows]
    predicted: dict[str, Sequence[Prediction]] = {"real": seeing}
    for control, texts in answers.controls.items():
        if control != orders.PROBE and all(row.key in texts for row in rows):
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
    texts = answers.controls.get(orders.PROBE, {})
    if answers.permuted and all(row.key in texts for row in answers.permuted):
        moved = judge.predictions(answers.permuted, [texts[row.key] for row in answers.permuted])
        unmoved = [by_key[row.key] for row in answers.permuted]
        found["choices"] = {"stage": name, **orders.report(judge, unmoved, moved)}
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
    """Return the number of completions that each reward applies to."""
    return Counter(name for each in parts for name, value in each.items() if value is not None)


def _means(parts: Sequence[Mapping[str, float | None]]) -> dict[str, float]:
    """Return the mean of each reward over the completions that it applies to."""
    sums: dict[str, list[float]] = {}
    for each in parts:
        for reward, value in each.items():
            if value is not None:
                sums.setdefault(reward, []).append(value)
    return {reward: sum(values) / len(values) for reward, values in sums.items()}
