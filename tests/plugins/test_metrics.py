"""Metrics as plugins declare them: what they give is checked, and a fault names the metric."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from geovlm.api import MetricSpec
from geovlm.errors import MetricError
from geovlm.plugins import metrics


def spec(**parts: Callable) -> MetricSpec:
    return MetricSpec(name="own/metric", summary="", **parts)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_left_out(prediction, value: float) -> None:
    own = spec(compute=lambda predictions: {"a": value, "b": 0.5})
    assert metrics.function(own)([prediction("x")]) == {"b": 0.5}


@pytest.mark.parametrize("value", ["much", None, [1.0, 2.0]])
def test_a_value_that_is_no_number_names_the_metric(prediction, value: object) -> None:
    own = spec(compute=lambda predictions: {"a": value})
    with pytest.raises(MetricError, match="metric 'own/metric'"):
        metrics.function(own)([prediction("x")])


def test_a_metric_that_raises_is_one_line_with_its_name(prediction) -> None:
    own = spec(compute=lambda predictions: {"a": 1 / 0})
    with pytest.raises(MetricError, match="metric 'own/metric' raised ZeroDivisionError") as caught:
        metrics.function(own)([prediction("x")])
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_count_that_is_no_number_names_the_sample(prediction, value: object) -> None:
    own = spec(counts=lambda one: {"n": value}, finish=lambda sums: {"a": sums["n"]})
    one = prediction("x")
    with pytest.raises(MetricError, match=f"on sample {one.sample_id!r}"):
        metrics.function(own)([one])


def test_a_resample_without_a_number_is_nan() -> None:
    own = spec(counts=lambda one: {"n": 1}, finish=lambda sums: {"a": np.array([1.0, math.inf])})
    (found,) = metrics.finish(own)({}).values()
    assert found[0] == 1.0
    assert math.isnan(found[1])
