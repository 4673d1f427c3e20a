"""Turns a `MetricSpec` into one function of all predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from geovlm.api import MetricSpec, Prediction
from geovlm.plugins.references import resolve


def function(spec: MetricSpec) -> Callable[[Sequence[Prediction]], Mapping[str, float]]:
    """Return the metric as a function: predictions, at least one -> named numbers.

    It is `compute`, or the sums of `counts` over the predictions, finished; numbers that are
    undefined (NaN) are then left out.

    Raises:
        PluginUnavailableError: a reference points to nothing; names it.
    """
    if spec.compute is not None:
        return resolve(spec.compute)
    assert spec.counts is not None and spec.finish is not None  # checked when it was declared
    counts, finish = resolve(spec.counts), resolve(spec.finish)

    def scores(predictions: Sequence[Prediction]) -> dict[str, float]:
        import numpy as np

        sums: dict[str, float] = {}
        for each in map(counts, predictions):
            for key, value in each.items():
                sums[key] = sums.get(key, 0.0) + value
        found = finish({key: np.array([value]) for key, value in sums.items()})
        return {name: float(value[0]) for name, value in found.items() if not np.isnan(value[0])}

    return scores
