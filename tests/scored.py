"""One completion scored by a reward, whether it takes one or a batch; predictions by a metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from geovlm.api import Prediction, RewardContext, RewardSpec
from geovlm.plugins import builtin, metrics
from geovlm.plugins.references import resolve


def alone(reward: Callable[..., Any], completion: str, ctx: RewardContext) -> float:
    """The value of a reward that takes a batch."""
    (value,) = reward([completion], [ctx])
    return value


def scored(spec: RewardSpec, completion: str, ctx: RewardContext) -> float:
    """The value of a reward as a plugin declares it."""
    function = resolve(spec.score)
    return alone(function, completion, ctx) if spec.batched else function(completion, ctx)


def measured(name: str, predictions: Sequence[Prediction]) -> Mapping[str, float]:
    """The numbers of a built-in metric."""
    (spec,) = (each for each in builtin.METRICS if each.name == name)
    return metrics.function(spec)(predictions)
