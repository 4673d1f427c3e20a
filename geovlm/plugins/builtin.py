"""The core as a plugin of itself: its rewards, metrics and model profiles, by the same hooks."""

from __future__ import annotations

from collections.abc import Iterable

from geovlm import hookimpl
from geovlm.api import MetricSpec, ModelProfile, RewardSpec
from geovlm.plugins import builtin_metrics, builtin_rewards, profiles


@hookimpl
def geovlm_rewards() -> Iterable[RewardSpec]:
    """The rewards of the method and their robust counterparts."""
    return builtin_rewards.SPECS


@hookimpl
def geovlm_metrics() -> Iterable[MetricSpec]:
    """The core's corpus metrics."""
    return builtin_metrics.SPECS


@hookimpl(trylast=True)
def geovlm_model_profile(model_type: str) -> ModelProfile | None:
    """The families that the core knows; last, so that a plugin may override them."""
    return profiles.find(model_type)
