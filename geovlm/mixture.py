"""The mixture of tasks: exact shares, whole epochs, one shuffle, reproducible from its arguments."""

from __future__ import annotations

import random
from collections.abc import Mapping

from geovlm.errors import ConfigError


def shares(weights: Mapping[str, float], *, n: int) -> dict[str, int]:
    """Split `n` rows by weight with the largest-remainder method; the parts sum to `n`.

    Ties of remainders go to the name that comes first in `weights`.
    """
    total = sum(weights.values())
    exact = {name: n * weight / total for name, weight in weights.items()}
    counts = {name: int(value) for name, value in exact.items()}
    order = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in order[: n - sum(counts.values())]:
        counts[name] += 1
    return counts


def plan(
    sizes: Mapping[str, int],
    *,
    weights: Mapping[str, float] | None = None,
    n: int,
    seed: int,
) -> list[tuple[str, int]]:
    """Return `n` pairs (task, row number): which rows a stage reads, in order.

    Each task has exactly its share; its rows are walked in whole shuffled epochs, so no row comes
    a second time before every other came once; then all pairs are shuffled together.

    Args:
        sizes: rows per task, all positive.
        weights: relative shares; `None` means in proportion to `sizes`.
        n: length of the plan.
        seed: of all shuffles.

    Raises:
        ConfigError: a task is empty, or weights are negative or all zero.
    """
    weights = dict(sizes) if weights is None else {name: weights[name] for name in sizes}
    empty = [name for name, size in sizes.items() if size <= 0]
    if empty:
        raise ConfigError(f"tasks without rows cannot be mixed: {', '.join(empty)}")
    if any(weight < 0 for weight in weights.values()) or not sum(weights.values()) > 0:
        raise ConfigError(
            f"task weights must be at least 0 and not all 0, got {weights}",
            hint="set tasks.NAME.weight to a positive number",
        )
    rng = random.Random(seed)
    pairs: list[tuple[str, int]] = []
    for name, count in shares(weights, n=n).items():
        while count > 0:
            epoch = list(range(sizes[name]))
            rng.shuffle(epoch)
            pairs.extend((name, row) for row in epoch[:count])
            count -= len(epoch)
    rng.shuffle(pairs)
    return pairs
