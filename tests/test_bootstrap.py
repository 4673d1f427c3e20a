"""Intervals of means: how often they hold the truth, also where items come in groups."""

from __future__ import annotations

import random

from geovlm import bootstrap


def mean(items) -> dict[str, float]:
    return {"mean": sum(items) / len(items)}


def test_intervals_of_clustered_data_hold_the_truth_as_often_as_they_say() -> None:
    rng = random.Random(3)
    covered = 0
    for trial in range(500):
        items, clusters = [], []
        for scene in range(60):
            level = rng.gauss(0.0, 1.0)
            items += [level + rng.gauss(0.0, 0.2) for _ in range(3)]
            clusters += [scene] * 3
        interval = bootstrap.interval(mean, items, resamples=200, seed=trial, clusters=clusters)
        low, high = interval["mean"]
        covered += low <= 0.0 <= high
    assert 0.91 <= covered / 500 <= 0.97  # about 94 % expected of percentiles of 60 groups


def test_the_seed_fixes_the_interval() -> None:
    items = [0.0, 1.0, 1.0, 0.0, 1.0]
    assert bootstrap.interval(mean, items, seed=4) == bootstrap.interval(mean, items, seed=4)


def test_constant_items_have_an_interval_without_width() -> None:
    assert bootstrap.interval(mean, [0.5] * 10)["mean"] == (0.5, 0.5)
