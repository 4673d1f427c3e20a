"""One completion scored by a reward, whether it takes one or a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geovlm.api import RewardContext, RewardSpec
from geovlm.plugins.references import resolve


def alone(reward: Callable[..., Any], completion: str, ctx: RewardContext) -> float:
    """The value of a reward that takes a batch."""
    (value,) = reward([completion], [ctx])
    return value


def scored(spec: RewardSpec, completion: str, ctx: RewardContext) -> float:
    """The value of a reward as a plugin declares it."""
    function = resolve(spec.score)
    return alone(function, completion, ctx) if spec.batched else function(completion, ctx)
