"""Turns a `MetricSpec` into functions whose results are checked; every caller goes through them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from geovlm.api import MetricSpec, Prediction
from geovlm.errors import MetricError
from geovlm.plugins.references import BUGS, resolve


def function(spec: MetricSpec) -> Callable[[Sequence[Prediction]], dict[str, float]]:
    """Return the metric as a function: predictions, at least one -> named numbers.

    It is `compute`, or the sums of `counts` over the predictions, finished. Numbers that are
    undefined (NaN, infinite) are left out.

    Raises:
        PluginUnavailableError: a reference points to nothing; names it.
    """
    values = _summed(spec) if spec.compute is None else resolve(spec.compute)

    def scores(predictions: Sequence[Prediction]) -> dict[str, float]:
        try:
            found = {str(name): float(value) for name, value in values(predictions).items()}
        except BUGS as error:
            raise _broken(spec, error) from error
        return {name: value for name, value in found.items() if math.isfinite(value)}

    return scores


def counts(spec: MetricSpec) -> Callable[[Prediction], dict[str, float]]:
    """Return `counts` of a metric that has it; its numbers are finite."""
    assert spec.counts is not None  # checked when it was declared
    given = resolve(spec.counts)

    def checked(prediction: Prediction) -> dict[str, float]:
        try:
            found = {str(key): float(value) for key, value in given(prediction).items()}
            if not all(map(math.isfinite, found.values())):
                raise ValueError(f"its counts {found!r} are not finite")
        except BUGS as error:
            raise _broken(spec, error, sample=prediction.sample_id) from error
        return found

    return checked


def finish(spec: MetricSpec) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Return `finish` of a metric that has it; numbers that are not finite are NaN."""
    import numpy as np

    assert spec.finish is not None  # checked when it was declared
    given = resolve(spec.finish)

    def checked(sums: Mapping[str, Any]) -> dict[str, Any]:
        try:
            found = {str(name): np.asarray(value, float) for name, value in given(sums).items()}
        except BUGS as error:
            raise _broken(spec, error) from error
        return {name: np.where(np.isfinite(each), each, np.nan) for name, each in found.items()}

    return checked


def higher_is_better(
    specs: Sequence[MetricSpec], number: str, predictions: Sequence[Prediction]
) -> bool:
    """Return False if a metric of which smaller is better gives the number of this name."""
    falling = [spec for spec in specs if not spec.higher_is_better]
    return not any(number in function(spec)(predictions) for spec in falling)


def _summed(spec: MetricSpec) -> Callable[[Sequence[Prediction]], Mapping[str, Any]]:
    one, end = counts(spec), finish(spec)

    def values(predictions: Sequence[Prediction]) -> Mapping[str, Any]:
        import numpy as np

        sums: dict[str, float] = {}
        for each in map(one, predictions):
            for key, value in each.items():
                sums[key] = sums.get(key, 0.0) + value
        found = end({key: np.array([value]) for key, value in sums.items()})
        return {name: value[0] for name, value in found.items()}

    return values


def _broken(spec: MetricSpec, error: Exception, *, sample: str = "") -> MetricError:
    where = f" on sample {sample!r}" if sample else ""
    message = " ".join(repr(error).split())[:200]
    return MetricError(
        f"metric {spec.name!r} raised {message}{where}",
        hint="a metric gives named numbers, NaN where one is undefined",
    )
