"""Intervals and paired tests: how often they hold the truth, and against scipy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from geovlm.plugins import builtin
from geovlm.plugins.metrics import function
from geovlm.plugins.references import resolve
from geovlm.score import bootstrap

Sums = dict[str, np.ndarray]
RUNS = 500


def mean_of_items(items) -> dict[str, float]:
    return {"mean": sum(items) / len(items)}


def interval(items, *, clusters=None, **settings):
    statistic = bootstrap.of_items(mean_of_items, items, clusters=clusters)
    return bootstrap.intervals(statistic, **settings)


def mean_of_sums(sums: Sums) -> Sums:
    return {"mean": sums["value"] / sums["n"]}


def scenes_of_levels(rng: np.random.Generator) -> tuple[list[dict[str, float]], list[int]]:
    """60 scenes of three answers that share the scene's level; the mean of all levels is 0."""
    levels = rng.normal(0, 1, 60)
    counts = [{"n": 1, "value": level + rng.normal(0, 0.2)} for level in levels for _ in range(3)]
    return counts, [scene for scene in range(60) for _ in range(3)]


def scenes_of_answers(rng: np.random.Generator) -> tuple[list[dict[str, float]], list[int]]:
    """30 scenes of one to eight right or wrong answers; 0.7 of them are right on average."""
    counts, clusters = [], []
    for scene, share in enumerate(rng.beta(1.4, 0.6, 30)):
        asked = int(rng.integers(1, 9))
        counts += [{"n": 1, "value": float(rng.random() < share)} for _ in range(asked)]
        clusters += [scene] * asked
    return counts, clusters


@pytest.mark.parametrize(
    ("draw", "truth"), [(scenes_of_levels, 0.0), (scenes_of_answers, 0.7)], ids=["levels", "right"]
)
def test_clustered_intervals_hold_the_truth_in_93_to_97_percent(
    draw: Callable[..., tuple[list[dict[str, float]], list[int]]], truth: float
) -> None:
    rng = np.random.default_rng(11)
    held = 0
    for run in range(RUNS):
        counts, clusters = draw(rng)
        statistic = bootstrap.of_sums(counts, mean_of_sums, clusters=clusters)
        low, high = bootstrap.intervals(statistic, seed=run)["mean"]
        held += low <= truth <= high
    assert 0.93 <= held / RUNS <= 0.97


def test_intervals_that_ignore_the_clusters_hold_the_truth_too_seldom() -> None:
    rng = np.random.default_rng(11)
    held = 0
    for run in range(RUNS):
        counts, _ = scenes_of_levels(rng)
        low, high = bootstrap.intervals(bootstrap.of_sums(counts, mean_of_sums), seed=run)["mean"]
        held += low <= 0.0 <= high
    assert held / RUNS < 0.85  # the width is short by sqrt(3): 74 % expected


def test_few_clusters_widen_the_interval_to_that_of_student() -> None:
    values = np.random.default_rng(5).normal(0, 1, 12)
    low, high = interval(list(values), resamples=20_000)["mean"]
    wide = stats.t.ppf(0.975, 11) * values.std(ddof=1) / math.sqrt(12)
    # 3 %: noise of 20,000 resamples at a tail of 0.5 %, and skewness of twelve values
    assert (high - low) / 2 == pytest.approx(wide, rel=0.03)


def test_items_and_their_sums_give_the_same_interval() -> None:
    items = [0.0, 1.0, 1.0, 0.0, 1.0, 0.5]
    clusters = ["a", "a", "b", "b", "c", "d"]
    sums = bootstrap.of_sums(
        [{"n": 1, "value": item} for item in items], mean_of_sums, clusters=clusters
    )
    by_sums = bootstrap.intervals(sums, resamples=50, seed=4)["mean"]
    by_items = interval(items, resamples=50, seed=4, clusters=clusters)["mean"]
    assert by_sums == pytest.approx(by_items, abs=1e-12)


def test_resamples_in_parts_are_the_same_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [{"n": 1, "value": value} for value in (0.0, 1.0, 2.0, 5.0)]
    statistic = bootstrap.of_sums(counts, mean_of_sums)
    whole = bootstrap.intervals(statistic, resamples=30)
    monkeypatch.setattr(bootstrap, "_CELLS", 28)
    assert bootstrap.intervals(statistic, resamples=30) == whole


def test_the_seed_fixes_the_interval() -> None:
    items = [0.0, 1.0, 1.0, 0.0, 1.0]
    assert interval(items, seed=4) == interval(items, seed=4)


def test_constant_items_have_an_interval_without_width() -> None:
    assert interval([0.5] * 10)["mean"] == (0.5, 0.5)


def test_one_cluster_has_no_interval() -> None:
    assert interval([0.0, 1.0], clusters=["a", "a"]) == {}


def paired(before: list[float], after: list[float]) -> bootstrap.Statistic:
    counts = [{"n": 1, "value": value} for value in (*before, *after)]
    return bootstrap.of_sums(counts, mean_of_sums)


def test_the_paired_test_agrees_with_scipy() -> None:
    before, after = (
        [0.1, 0.4, 0.3, 0.9, 0.2, 0.5, 0.6, 0.3],
        [0.3, 0.5, 0.2, 1.0, 0.6, 0.7, 0.6, 0.5],
    )
    found = bootstrap.changes(paired(before, after), resamples=20_000)["mean"]
    exact = stats.permutation_test(
        (np.array(after), np.array(before)),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    assert found.difference == pytest.approx(exact.statistic)
    assert found.p == pytest.approx(exact.pvalue, abs=0.01)  # three standard errors of 20,000


def test_the_same_answers_are_no_change() -> None:
    found = bootstrap.changes(paired([0.0, 1.0, 1.0], [0.0, 1.0, 1.0]))["mean"]
    assert found == bootstrap.Change(difference=0.0, low=0.0, high=0.0, p=1.0)


def test_a_change_in_every_one_of_twenty_groups_is_significant() -> None:
    found = bootstrap.changes(paired([0.0] * 20, [1.0] * 20), resamples=999)["mean"]
    assert found.difference == 1.0
    assert found.p == 0.001  # 1 / (1 + 999): no permutation gets as far


def test_permutations_without_a_number_do_not_make_a_change_significant() -> None:
    pair = paired([0.0, 1.0] * 10, [1.0, 0.0] * 10)

    def at(weights: np.ndarray) -> dict[str, np.ndarray]:
        agree = weights[:, 0] == weights[:, 1]  # half of the permutations
        return {"mean": np.where(agree, pair.at(weights)["mean"], np.nan)}

    found = bootstrap.changes(bootstrap.Statistic(groups=pair.groups, at=at), resamples=400)
    # the means are equal, so every permutation with a number gets as far
    assert found["mean"].difference == 0.0
    assert found["mean"].p == 1.0


def test_the_paired_test_rejects_no_true_null_too_often() -> None:
    rng = np.random.default_rng(8)
    rejected = 0
    for run in range(300):
        before, after = rng.random((2, 25))
        found = bootstrap.changes(paired(list(before), list(after)), resamples=199, seed=run)
        rejected += found["mean"].p <= 0.05
    assert rejected / 300 <= 0.09  # 5 % expected, three standard errors are 4 %


@pytest.mark.parametrize(
    ("name", "completions", "target"),
    [
        ("accuracy", ["yes", "no", "yes"], {"answer": "yes", "type": "presence"}),
        ("labels", ["a", "a, b", "c"], {"labels": ["a", "c"], "vocabulary": ["a", "b", "c", "d"]}),
        ("detection", ["[0, 0, 28, 28]", "", "[0, 0, 20, 28]"], {"boxes": [[0, 0, 28, 28]]}),
        ("caption", ["a red roof", "a roof", "sea"], {"captions": ["a red roof"]}),
        ("format", ["a", "b", "c"], {}),
    ],
)
def test_built_in_metrics_are_the_same_of_sums_and_of_items(
    prediction, name: str, completions: list[str], target: dict[str, object]
) -> None:
    predictions = [
        prediction(f"<think> x </think><answer> {text} </answer>", target=target)
        for text in completions
    ]
    spec = next(spec for spec in builtin.METRICS if spec.name == name)
    counts = resolve(spec.counts)
    sums = bootstrap.of_sums([counts(one) for one in predictions], resolve(spec.finish))
    items = bootstrap.of_items(function(spec), predictions)
    weights = np.array([[1.0, 1.0, 1.0], [2.0, 1.0, 0.0], [0.0, 0.0, 3.0]])
    by_sums, by_items = sums.at(weights), items.at(weights)
    for key, values in by_items.items():
        assert by_sums[key] == pytest.approx(values, abs=1e-12, nan_ok=True)
    assert set(by_sums) == set(by_items)
