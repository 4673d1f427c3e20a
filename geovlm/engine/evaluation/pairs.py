"""Probes of tasks with two images: does the answer depend on both, and on their order?

Each probe asks the same questions about an altered pair: the images swapped, the older one twice
(nothing changed), the newer one moved by a few pixels (as badly registered pairs are).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from geovlm import answers, boxes
from geovlm.api import Prediction, TaskSpec
from geovlm.engine.evaluation import judge as scores
from geovlm.engine.rows import rows as data
from geovlm.engine.rows.images import shifted

SHIFT_PX = (2.0, 8.0)
"""Least and largest shift of the newer image, pixels of the stored image."""
PROBES = ("swapped", "same", "shifted")


def altered(rows: Sequence[data.Row], probe: str, *, seed: int) -> list[data.Row]:
    """Return the rows with the pairs of one probe; every row has two images.

    Args:
        rows: rows with two images.
        probe: one of `PROBES`.
        seed: of the shifts; each sample has its own direction and length.
    """
    alter: Callable[[data.Row], data.Row] = {
        "swapped": _swap,
        "same": _repeat_older,
        "shifted": lambda row: _shift_newer(row, seed=seed),
    }[probe]
    return [alter(row) for row in rows]


def report(
    judge: scores.Judge,
    rows: Sequence[data.Row],
    texts: Mapping[str, Sequence[str]],
) -> dict[str, Any]:
    """Return what the probes say of a model.

    Args:
        judge: scores answers to the task.
        rows: its rows, unaltered.
        texts: `real` and each of `PROBES` -> one completion per row.

    Returns:
        `n`; `metrics` of the real pairs and of each probe against the same gold;
        `order_sensitivity` and `shift_sensitivity`, the shares of answers that differ from those
        to the real pairs; `false_alarm_rate`, the share of answers to the older image twice that
        claim a change, `None` where the task does not say what an unchanged pair is answered.
        A model whose score on the older image twice is that on the real pairs does not look at
        the newer image.
    """
    answered = {probe: judge.predictions(rows, texts[probe]) for probe in ("real", *PROBES)}
    alarms = [claims_change(judge.task, one) for one in answered["same"]]
    known = [alarm for alarm in alarms if alarm is not None]
    return {
        "n": len(rows),
        "metrics": {probe: judge.metrics(each) for probe, each in answered.items()},
        "order_sensitivity": _differing(answered["real"], answered["swapped"]),
        "shift_sensitivity": _differing(answered["real"], answered["shifted"]),
        "shift_px": list(SHIFT_PX),
        "false_alarm_rate": sum(known) / len(known) if known else None,
    }


def claims_change(task: TaskSpec, prediction: Prediction) -> bool | None:
    """Whether an answer says that something changed; `None` where the task does not tell.

    An answer of boxes does if it has any; another one if it is not the task's `unchanged`.
    """
    if not task.unchanged:
        return None
    said = answers.answer_text(prediction.completion)
    if "boxes" in prediction.target and "answer" not in prediction.target:
        return bool(boxes.parse(said, prediction))
    return answers.normalise(said) != answers.normalise(task.unchanged)


def _differing(one: Sequence[Prediction], other: Sequence[Prediction]) -> float:
    """Return the share of answers that are not the same, normalised."""
    pairs = zip(one, other, strict=True)
    return sum(_said(a) != _said(b) for a, b in pairs) / len(one)


def _said(prediction: Prediction) -> str:
    return answers.normalise(answers.answer_text(prediction.completion))


def _swap(row: data.Row) -> data.Row:
    older, newer = row.images
    return replace(row, images=(newer, older))


def _repeat_older(row: data.Row) -> data.Row:
    return replace(row, images=(row.images[0], row.images[0]))


def _shift_newer(row: data.Row, *, seed: int) -> data.Row:
    rng = random.Random(f"{seed} {row.key}")
    angle, length = rng.uniform(0, 2 * math.pi), rng.uniform(*SHIFT_PX)
    width, height = row.image_sizes[1]
    share = (length * math.cos(angle) / width, length * math.sin(angle) / height)
    return replace(row, images=(row.images[0], shifted(row.images[1], share=share)))
