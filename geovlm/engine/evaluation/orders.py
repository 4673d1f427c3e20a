"""Probes multiple choice: the same questions with their choices in another order.

A model that knows the answer follows the content to its new letter. One that prefers a letter, or
has learned which letters are right, stays with the letter.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from geovlm import answers
from geovlm.api import Json, Prediction
from geovlm.engine.evaluation.judge import Judge
from geovlm.engine.rows.rows import Row, Rows

PROBE = "permuted"
"""Name of the prompts."""
_OTHERS = re.compile(r"\babove\b|\b[A-H] (?:and|or|&) [A-H]\b|\bboth [a-h]\b", re.IGNORECASE)
"""A choice that speaks of other choices by their place or letter."""


def permuted(rows: Rows, *, seed: int) -> list[Row]:
    """Return the rows of questions with choices, each with its choices moved round.

    They keep their keys, and the letter of the right answer changes in all of them: the choices
    move by a number of places that is drawn per sample. Questions without choices have no row, nor
    have those with a choice that speaks of others (`none of the above`), nor those whose task does
    not list `target["choices"]` in its question.
    """
    found = [(sample, moved(sample.target, seed=f"{seed} {sample.id}")) for sample in rows.samples]
    known = [(sample, target) for sample, target in found if target is not None]
    before = replace(rows, samples=[sample for sample, _ in known])
    after = replace(rows, samples=[replace(sample, target=target) for sample, target in known])
    return [
        other
        for one, other in zip(before, after, strict=True)
        if other.question != one.question and other.answer != one.answer
    ]


def moved(target: Mapping[str, Json], *, seed: str) -> dict[str, Json] | None:
    """Return a target with its choices moved round; `None` if it has none that can be moved."""
    choices = _choices(target)
    right = answers.named_choices(str(target.get("answer", "")), choices)
    if len(choices) < 2 or not right or any(map(_OTHERS.search, choices)):
        return None
    n, by = len(choices), random.Random(seed).randrange(1, len(choices))
    order: list[Json] = [choices[(at - by) % n] for at in range(n)]
    return {
        **target,
        "choices": order,
        "answer": answers.letters(sorted((at + by) % n for at in right)),
    }


def report(judge: Judge, real: Sequence[Prediction], other: Sequence[Prediction]) -> dict[str, Any]:
    """Return what answers follow when the choices change places.

    Args:
        judge: Scores the answers of the task.
        real: Answers to the questions as they are, at least one.
        other: Answers to the same questions with their choices moved, in the same order.

    Returns:
        `n`; `metrics` of `real` and of `permuted`; the shares of answers that follow the `content`,
        those that stay with the `letter`, and the others (`neither`: another choice, none that can
        be read, or a set of choices that is the same by content and by letter).
    """
    counts = {"content": 0, "letter": 0, "neither": 0}
    for one, two in zip(real, other, strict=True):
        counts[_follows(one, two)] += 1
    return {
        "n": len(real),
        "metrics": {"real": judge.metrics(real), PROBE: judge.metrics(other)},
        **{name: count / len(real) for name, count in counts.items()},
    }


def _follows(real: Prediction, other: Prediction) -> str:
    (before, one), (after, two) = _named(real), _named(other)
    texts = {answers.normalise(before[at]) for at in one}
    content = texts == {answers.normalise(after[at]) for at in two}
    if not one or not two or content == (one == two):
        return "neither"
    return "content" if content else "letter"


def _named(prediction: Prediction) -> tuple[list[str], tuple[int, ...]]:
    choices = _choices(prediction.target)
    return choices, answers.named_choices(answers.answer_text(prediction.completion), choices)


def _choices(target: Mapping[str, Any]) -> list[str]:
    return [str(each) for each in target.get("choices") or ()]
