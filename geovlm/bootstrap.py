"""Uncertainty of corpus metrics by resampling."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def interval(
    compute: Callable[[Sequence[T]], Mapping[str, float]],
    items: Sequence[T],
    *,
    resamples: int = 200,
    seed: int = 0,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Return percentile bootstrap intervals of everything that `compute` returns.

    Args:
        compute: items -> named numbers.
        items: what is resampled, with replacement; not empty.
        resamples: how often.
        seed: of the resampling.
        clusters: group of each item, such as its scene; whole groups are resampled.
        level: share of the distribution between the bounds.
    """
    groups: dict[Hashable, list[T]] = {}
    for i, item in enumerate(items):
        groups.setdefault(clusters[i] if clusters is not None else i, []).append(item)
    pools = list(groups.values())
    rng = random.Random(seed)
    drawn: dict[str, list[float]] = {}
    for _ in range(resamples):
        chosen = [item for pool in rng.choices(pools, k=len(pools)) for item in pool]
        for name, value in compute(chosen).items():
            drawn.setdefault(name, []).append(value)
    tail = (1 - level) / 2
    return {
        name: (_quantile(sorted(values), tail), _quantile(sorted(values), 1 - tail))
        for name, values in drawn.items()
    }


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Linear interpolation between order statistics."""
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])
