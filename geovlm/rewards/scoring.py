"""Applies a declared reward to completions and checks its values; every caller goes through it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from geovlm.api import RewardContext, RewardSpec, TaskSpec
from geovlm.errors import GeoVLMError, RewardError
from geovlm.plugins.references import BUGS, resolve

_FORMAT = {"think": {"format/think": 0.5, "format/answer": 0.5}, "none": {"format/answer": 1.0}}
"""Form of an answer -> weights of its format rewards, 1 in all."""


def format_rewards(task: TaskSpec) -> dict[str, float]:
    """Return the weights of the rewards that the engine adds to a task, 1 in all."""
    return dict(_FORMAT[task.reasoning])


def score(
    reward: RewardSpec,
    completions: Sequence[str],
    contexts: Sequence[RewardContext],
    *,
    began: Callable[[RewardContext], None] = lambda context: None,
) -> list[float | None]:
    """Return the reward of each completion, a text of the model with its tags.

    `began` is called before each call of the reward, with its context; for a batch, the first one.

    Raises:
        RewardError: the reward raised, or returned a value that is not finite or not in its range;
            names reward, task and sample.
    """
    function = resolve(reward.score)
    if reward.batched:
        began(contexts[0])
        try:
            values = list(function(completions, contexts))
        except BUGS as error:
            raise _broken(reward, contexts[0], f"raised {error!r}") from error
        if len(values) != len(completions):
            raise _broken(reward, contexts[0], f"returned {len(values)} values for a batch")
    else:
        values = []
        for completion, context in zip(completions, contexts, strict=True):
            began(context)
            try:
                values.append(function(completion, context))
            except BUGS as error:
                raise _broken(reward, context, f"raised {error!r}") from error
    for value, context in zip(values, contexts, strict=True):
        if value is None:
            continue
        if not math.isfinite(value) or not reward.low <= value <= reward.high:
            raise _broken(
                reward, context, f"returned {value!r}, outside [{reward.low}, {reward.high}]"
            )
    return values


def _broken(reward: RewardSpec, context: RewardContext, what: str) -> GeoVLMError:
    return RewardError(
        f"reward {reward.name!r} {what} on task {context.task!r}, sample {context.sample_id!r}",
        hint="a reward returns a finite number in its range, or None where it does not apply",
    )
