"""Plans the mixture of a stage: the order of rows of several tasks, with exact shares."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from fractions import Fraction

from geovlm.errors import ConfigError


def plan(
    sizes: Mapping[str, int], *, weights: Mapping[str, float] | None, n: int, seed: int
) -> list[tuple[str, int]]:
    """Return `n` pairs (task, row number) with exact shares, the same on every platform.

    Each task is read in whole shuffled epochs: no row comes a second time before all have come
    once, and the counts of two rows differ by at most one. The tasks are then interleaved
    by one shuffle of all `n` places. The order within a task depends on seed and task name alone,
    not on the other tasks.

    Raises:
        ConfigError: as `shares`.
    """
    counts = shares(sizes, weights=weights, n=n)
    order = [name for name, count in counts.items() for _ in range(count)]
    _shuffle(order, rng=random.Random(f"{seed}"))
    rows = {
        name: iter(_epochs(sizes[name], count=count, rng=random.Random(f"{seed}/{name}")))
        for name, count in counts.items()
    }
    return list(zip(order, map(next, map(rows.__getitem__, order)), strict=True))


def shares(
    sizes: Mapping[str, int], *, weights: Mapping[str, float] | None, n: int
) -> dict[str, int]:
    """Return task -> its number of the `n` rows: largest remainder, ties to the task named first.

    `sizes` holds the rows of each task; the weight of a task without one is its size. The result
    has the order of `sizes`, sums to `n` and differs from the exact share by less than one row.

    Raises:
        ConfigError: a weight is not of one of the tasks, is negative or not finite; all weights
            are zero; or a task without rows has a share.
    """
    given = weights or {}
    unknown = sorted(given.keys() - sizes.keys())
    if unknown:
        raise ConfigError(
            f"weights name {unknown}, which are not tasks of this stage",
            hint=f"the tasks are {', '.join(sizes)}",
        )
    for name, weight in given.items():
        if not math.isfinite(weight) or weight < 0:
            raise ConfigError(
                f"the weight of task {name!r} is {weight!r}", hint="give a number of 0 or more"
            )
    exact = {name: Fraction(given.get(name, size)) for name, size in sizes.items()}
    total = sum(exact.values())
    if n <= 0:
        return dict.fromkeys(sizes, 0)
    if not total:
        raise ConfigError(
            f"no rows to choose from: tasks {list(sizes)} have no rows or only zero weights",
            hint="give at least one task with rows a positive weight",
        )
    quotas = {name: n * weight / total for name, weight in exact.items()}
    counts = {name: math.floor(quota) for name, quota in quotas.items()}
    by_remainder = sorted(sizes, key=lambda name: counts[name] - quotas[name])
    for name in by_remainder[: n - sum(counts.values())]:
        counts[name] += 1
    for name, count in counts.items():
        if count and not sizes[name]:
            raise ConfigError(
                f"task {name!r} has a weight of {given[name]!r} and no rows",
                hint="check its data with 'geovlm data check' or set its weight to 0",
            )
    return counts


def _epochs(size: int, *, count: int, rng: random.Random) -> list[int]:
    rows: list[int] = []
    while len(rows) < count:
        wanted = count - len(rows)
        if wanted < size // 4:
            rows += rng.sample(range(size), wanted)
        else:
            draw = rng.random
            rows += sorted(range(size), key=lambda _: draw())[:wanted]
    return rows


def _shuffle(items: list[str], *, rng: random.Random) -> None:
    """Shuffle by Fisher-Yates with floats: half the time of `random.shuffle`, even to 2**53."""
    draw, last = rng.random, len(items)
    for place in range(last):
        other = place + int(draw() * (last - place))
        items[place], items[other] = items[other], items[place]
