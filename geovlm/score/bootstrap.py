"""Estimates the uncertainty of corpus metrics: intervals over resampled groups, paired tests.

Whole groups are drawn (all answers about one image, or one event), because answers about the same
pixels fail together. The interval is the expanded percentile interval of T. Hesterberg, "What
Teachers Should Know About the Bootstrap", arXiv 1411.5279, section 3.3: percentiles of the
resampled values at Phi(-sqrt(k / (k - 1)) t), t being Student's quantile of k - 1 degrees of
freedom. With k = 60 groups that is nearly the percentile interval; with 12 the plain percentile
interval holds the truth in 88 to 91 % of samples, this one in 91 to 95 %. From 20 groups on it
holds it in 93 to 97 % (means, proportions, ratios of sums). If all groups agree, its width
is 0 and it carries no information.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

Array: TypeAlias = NDArray[np.float64]

_LEVEL = 0.95
"""Share of the distribution between the bounds."""
_CELLS = 4_000_000
"""Largest number of cells of a table of weights: 32 MB."""


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """Named numbers as functions of how often each group counts."""

    groups: int
    at: Callable[[Array], Mapping[str, Array]]
    """Weights `(resamples, groups)` -> values `(resamples,)`; NaN where a number is undefined."""


class Interval(NamedTuple):
    """Bounds of a number, with the unit of the number."""

    low: float
    high: float


class Change(NamedTuple):
    """Difference of a number between two sets of answers to the same questions."""

    difference: float
    """The number after minus the number before."""
    low: float
    high: float
    """95 % interval of the difference."""
    p: float
    """Two-sided p-value: probability of a difference as large if the two are exchangeable."""


def of_sums(
    counts: Sequence[Mapping[str, float]],
    finish: Callable[[Mapping[str, Array]], Mapping[str, Array]],
    *,
    clusters: Sequence[Hashable] | None = None,
) -> Statistic:
    """Return a statistic that is a function of sums over the items: one matrix product.

    A key that an item lacks adds 0; `finish` takes and gives arrays of one shape. Without clusters
    each item is a group.
    """
    index = _group_index(len(counts), clusters)
    keys = list(dict.fromkeys(key for each in counts for key in each))
    column = {key: i for i, key in enumerate(keys)}
    table = np.zeros((max(index) + 1, len(keys)))
    for group, each in zip(index, counts, strict=True):
        for key, value in each.items():
            table[group, column[key]] += value

    def at(weights: Array) -> Mapping[str, Array]:
        sums = weights @ table
        return finish({key: sums[:, i] for key, i in column.items()})

    return Statistic(groups=len(table), at=at)


def of_items(
    compute: Callable[[Sequence[T]], Mapping[str, float]],
    items: Sequence[T],
    *,
    clusters: Sequence[Hashable] | None = None,
) -> Statistic:
    """Return a statistic of any function of the items, computed again for every resample."""
    index = _group_index(len(items), clusters)
    members: list[list[T]] = [[] for _ in range(max(index) + 1)]
    for group, item in zip(index, items, strict=True):
        members[group].append(item)

    def at(weights: Array) -> Mapping[str, Array]:
        found = []
        for row in weights.astype(int).tolist():
            chosen = [item for n, many in zip(row, members, strict=True) for item in many * n]
            found.append(compute(chosen))
        names = dict.fromkeys(name for each in found for name in each)
        return {name: np.array([each.get(name, math.nan) for each in found]) for name in names}

    return Statistic(groups=len(members), at=at)


def together(statistics: Sequence[Statistic]) -> Statistic:
    """Return several statistics of the same groups as one; they then share their resamples."""

    def at(weights: Array) -> Mapping[str, Array]:
        return {name: value for each in statistics for name, value in each.at(weights).items()}

    return Statistic(groups=statistics[0].groups, at=at)


def intervals(statistic: Statistic, *, resamples: int = 1000, seed: int = 0) -> dict[str, Interval]:
    """Return the 95 % interval of each number; none if there is only one group.

    A resample in which a number is undefined is left out for that number.
    """
    groups = statistic.groups
    if groups < 2:
        return {}
    parts = [statistic.at(weights) for weights in _draws(groups, resamples, seed)]
    names = dict.fromkeys(name for part in parts for name in part)
    found = {}
    for name in names:
        values = np.concatenate([part[name] for part in parts if name in part])
        bounds = _bounds(values, groups=groups)
        if bounds is not None:
            found[name] = bounds
    return found


def changes(pair: Statistic, *, resamples: int = 1000, seed: int = 0) -> dict[str, Change]:
    """Return how each number changes between two sets of answers to the same questions.

    Groups 0..k-1 of the pair hold the answers before, k..2k-1 those after, in the same order.
    The interval is that of the difference under the same resampled groups. The p-value is of a
    permutation test that swaps both answers of whole groups at random, so it cannot fall below
    2 / 2^k with k groups. It is not corrected for the number of comparisons. There are as many
    permutations as resamples; one in which a number is undefined is left out for that number.
    """
    groups = pair.groups // 2
    if groups < 2:
        return {}
    observed = _differences(pair, [np.ones((1, groups))], swap=False)
    drawn = _differences(pair, _draws(groups, resamples, seed), swap=False)
    rng = np.random.default_rng([seed, 1])
    coins = (
        rng.integers(2, size=(rows, groups)).astype(float) for rows in _chunks(groups, resamples)
    )
    swapped = _differences(pair, coins, swap=True)
    found = {}
    for name, values in observed.items():
        bounds = _bounds(drawn[name], groups=groups)
        if bounds is None or not math.isfinite(values[0]):
            continue
        difference = float(values[0])
        known = swapped[name][np.isfinite(swapped[name])]
        as_large = np.sum(np.abs(known) >= abs(difference) - 1e-12)
        p = float((1 + as_large) / (1 + len(known)))
        found[name] = Change(difference=difference, low=bounds.low, high=bounds.high, p=p)
    return found


def _differences(
    pair: Statistic, weights: Iterator[Array] | Sequence[Array], *, swap: bool
) -> dict[str, Array]:
    """Return after minus before under each row of weights.

    With `swap` the weights are 0 or 1, and a group of weight 1 keeps its sides.
    """
    parts: dict[str, list[Array]] = {}
    for each in weights:
        other = 1 - each if swap else np.zeros_like(each)
        after = pair.at(np.hstack([other, each]))
        before = pair.at(np.hstack([each, other]))
        for name, values in after.items():
            if name in before:
                parts.setdefault(name, []).append(values - before[name])
    return {name: np.concatenate(many) for name, many in parts.items()}


def _bounds(values: Array, *, groups: int) -> Interval | None:
    """Return the expanded percentiles; `None` where no value is defined."""
    from scipy.special import ndtr, stdtrit

    values = values[np.isfinite(values)]
    if not len(values):
        return None
    quantile = stdtrit(groups - 1, (1 + _LEVEL) / 2)
    tail = float(ndtr(-math.sqrt(groups / (groups - 1)) * quantile))
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high))


def _draws(groups: int, resamples: int, seed: int) -> Iterator[Array]:
    """Yield weights: how often each group is drawn, groups drawn with replacement."""
    rng = np.random.default_rng(seed)
    for rows in _chunks(groups, resamples):
        drawn = rng.integers(groups, size=(rows, groups))
        flat = (drawn + np.arange(rows)[:, None] * groups).ravel()
        yield np.bincount(flat, minlength=rows * groups).reshape(rows, groups).astype(float)


def _chunks(groups: int, resamples: int) -> Iterator[int]:
    """Yield row counts that sum up to `resamples`, each table within `_CELLS`."""
    most = max(1, _CELLS // groups)
    for start in range(0, resamples, most):
        yield min(most, resamples - start)


def _group_index(n: int, clusters: Sequence[Hashable] | None) -> list[int]:
    """Return the group number of each item, groups numbered as they appear."""
    numbers: dict[Hashable, int] = {}
    names = clusters if clusters is not None else range(n)
    return [numbers.setdefault(name, len(numbers)) for name in names]
