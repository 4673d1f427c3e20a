"""Probes of tasks with two images: answers must depend on both images and on their order.

Each probe repeats the same questions with an altered pair: the images swapped, the older one twice
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
from geovlm.engine.evaluation.judge import Judge
from geovlm.engine.rows.images import shifted
from geovlm.engine.rows.rows import Row

SHIFT_PX = (2.0, 8.0)
"""Least and largest shift of the newer image, pixels of the stored image."""
PROBES = ("swapped", "same", "shifted")


def altered(rows: Sequence[Row], probe: str, *, seed: int) -> list[Row]:
    """Return the rows with the pairs of one probe; every row has two images.

    Each sample is shifted in its own direction and by its own length.
    """
    alter: Callable[[Row], Row] = {
        "swapped": lambda row: replace(row, images=row.images[::-1]),
        "same": lambda row: replace(row, images=row.images[:1] * 2),
        "shifted": lambda row: _shift_newer(row, seed=seed),
    }[probe]
    return [alter(row) for row in rows]


def report(judge: Judge, answered: Mapping[str, Sequence[Prediction]]) -> dict[str, Any]:
    """Return how the answers change with the pair; `answered` holds `real` and each of `PROBES`.

    Returns:
        `n`; `metrics` of the real pairs and of each probe against the same correct answers;
        `order_sensitivity` and `shift_sensitivity`, the shares of answers that differ from those
        to the real pairs; `false_alarm_rate`, the share of answers to the older image twice that
        claim a change, `None` where the task does not declare the answer to an unchanged pair.
        A model whose score on the older image twice is that on the real pairs does not look at
        the newer image.
    """
    alarms = [claims_change(judge.task, one) for one in answered["same"]]
    known = [alarm for alarm in alarms if alarm is not None]
    return {
        "n": len(answered["real"]),
        "metrics": {probe: judge.metrics(answered[probe]) for probe in ("real", *PROBES)},
        "order_sensitivity": _differing(answered["real"], answered["swapped"]),
        "shift_sensitivity": _differing(answered["real"], answered["shifted"]),
        "shift_px": list(SHIFT_PX),
        "false_alarm_rate": sum(known) / len(known) if known else None,
    }


def claims_change(task: TaskSpec, prediction: Prediction) -> bool | None:
    """Return True if an answer states a change; `None` if the task has no `unchanged`.

    An answer of boxes does so if it has any; another one if it is not the task's `unchanged` and
    does not state in words that nothing changed. No answer counts as a claim.
    """
    if not task.unchanged:
        return None
    answer = answers.answer_text(prediction.completion)
    if not answer:
        return True
    if "boxes" in prediction.target and "answer" not in prediction.target:
        return bool(boxes.parse(answer, prediction))
    if answers.says_unchanged(answer):
        return False
    return answers.normalise(answer) != answers.normalise(task.unchanged)


def _differing(one: Sequence[Prediction], other: Sequence[Prediction]) -> float:
    """Return the share of answers that are not the same, normalised."""
    pairs = zip(one, other, strict=True)
    return sum(_answer(a) != _answer(b) for a, b in pairs) / len(one)


def _answer(prediction: Prediction) -> str:
    return answers.normalise(answers.answer_text(prediction.completion))


def _shift_newer(row: Row, *, seed: int) -> Row:
    rng = random.Random(f"{seed} {row.key}")
    angle, length = rng.uniform(0, 2 * math.pi), rng.uniform(*SHIFT_PX)
    width, height = row.image_sizes[1]
    share = (length * math.cos(angle) / width, length * math.sin(angle) / height)
    return replace(row, images=(row.images[0], shifted(row.images[1], share=share)))
