"""Computes the reward and the metric: class right, or at least its group."""

from __future__ import annotations

from collections.abc import Sequence

from geovlm import answers
from geovlm.api import Prediction, RewardContext
from geovlm_eurosat.classes import GROUP


def group(completion: str, ctx: RewardContext) -> float:
    """1 for the right class, 0.5 for another of its group, else 0; several classes: 0."""
    return _score(completion, str(ctx.target["answer"]))


def groups(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Return `group_accuracy`: share of answers that name one class, of the right group."""
    scores = [_score(each.completion, str(each.target["answer"])) for each in predictions]
    return {"group_accuracy": sum(score > 0 for score in scores) / len(scores)}


def _score(completion: str, gold: str) -> float:
    named = answers.labels(answers.answer_text(completion), list(GROUP))
    if len(named) != 1:
        return 0.0
    return 1.0 if named[0] == gold else 0.5 * (GROUP[named[0]] == GROUP[gold])
