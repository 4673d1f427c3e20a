"""Scores answers to one task with intervals, and compares two answers to each of its samples.

Every caller draws the same groups of answers and computes the same metrics.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from geovlm.api import MetricSpec, Prediction
from geovlm.plugins import metrics
from geovlm.score import bootstrap

MIN_EVENTS = 8
"""With fewer events among the samples, the images are the groups: no interval of so few holds."""


class Clusters(NamedTuple):
    """The groups of answers that the bootstrap draws."""

    by: str
    """`event` or `image`."""
    names: tuple[Hashable, ...]
    """Group of each answer."""

    def described(self) -> dict[str, Any]:
        """Return the entry of `metrics.json` about them."""
        return {"by": self.by, "n": len(set(self.names))}


def clusters(metas: Sequence[Mapping[str, Any]], images: Sequence[Hashable]) -> Clusters:
    """Return the groups of samples: `meta["event"]` where there are enough, else the images.

    An interval over images holds for new images of the same events only.
    """
    events = [meta.get("event") for meta in metas]
    if all(event is not None for event in events) and len(set(events)) >= MIN_EVENTS:
        return Clusters("event", tuple(events))
    return Clusters("image", tuple(images))


def values(specs: Sequence[MetricSpec], answered: Sequence[Prediction]) -> dict[str, float]:
    """Return every number of every metric; those that are undefined are left out."""
    found: dict[str, float] = {}
    for spec in specs:
        found.update(metrics.function(spec)(answered))
    return found


def intervals(
    specs: Sequence[MetricSpec],
    answered: Sequence[Prediction],
    *,
    groups: Clusters,
    resamples: int,
    seed: int,
) -> dict[str, list[float]]:
    """Return the 95 % interval of every number; see `bootstrap.intervals`."""
    statistic = _statistic(specs, answered, groups.names)
    found = bootstrap.intervals(statistic, resamples=resamples, seed=seed)
    return {name: list(bounds) for name, bounds in found.items()}


def changes(
    specs: Sequence[MetricSpec],
    before: Sequence[Prediction],
    after: Sequence[Prediction],
    *,
    groups: Clusters,
    resamples: int,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Return how every number differs between two sets of answers to the same samples, in order.

    Each is `{"difference", "ci95", "p"}`; see `bootstrap.changes`.
    """
    names = [(side, name) for side in (0, 1) for name in groups.names]
    pair = _statistic(specs, [*before, *after], names)
    found = bootstrap.changes(pair, resamples=resamples, seed=seed)
    return {
        name: {"difference": change.difference, "ci95": [change.low, change.high], "p": change.p}
        for name, change in found.items()
    }


def _statistic(
    specs: Sequence[MetricSpec], answered: Sequence[Prediction], names: Sequence[Hashable]
) -> bootstrap.Statistic:
    """Return all metrics as one statistic of groups."""
    found = []
    for spec in specs:
        if spec.counts is not None:
            counts = list(map(metrics.counts(spec), answered))
            found.append(bootstrap.of_sums(counts, metrics.finish(spec), clusters=names))
        else:
            found.append(bootstrap.of_items(metrics.function(spec), answered, clusters=names))
    return bootstrap.together(found)
