"""Converts stored values to brightness 0..255, from the range of each band or index."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from geovlm.api import Raster
from geovlm.errors import DataError
from geovlm.raster.bands import is_index, locate
from geovlm.raster.files import State, state
from geovlm.raster.fills import declared_nodata, fills, sampled, without_fills


def stretched(values: np.ndarray, *, low: float, high: float) -> np.ndarray:
    """Convert values to (H, W) uint8: `low` becomes 0, `high` 255, clipped; NaN becomes 0.

    If both are equal, as percentiles of a flat band are, values above become 255.
    """
    if high == low:
        return np.where(values > high, 255, 0).astype(np.uint8)
    scaled = (values - np.float32(low)) * np.float32(255.0 / (high - low))
    np.nan_to_num(scaled, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


class Range(NamedTuple):
    """Stored values that are shown as 0 and as 255."""

    low: float
    high: float


def shown_range(ref: Raster, name: str) -> Range:
    """Return the values of a band or an index that are shown as 0 and 255.

    Raises:
        DataError: The declared values are not a range or not percentiles; names the file.
    """
    declared = ref.ranges.get(name)
    if declared is None and is_index(ref, name):
        return Range(-1.0, 1.0)
    low, high = declared or (ref.low, ref.high)
    if not high > low:
        raise DataError(
            f"{locate(ref, name).path}: low={low} is not below high={high}",
            hint="low is the stored value to show as black, high the one to show as white",
        )
    if declared is not None or ref.scaling == "range":
        return Range(low, high)
    path, number, _ = locate(ref, name)
    if not (low >= 0 and high <= 100):
        raise DataError(
            f"{path}: low={low} and high={high} are not percentiles",
            hint="percentiles lie in 0..100, such as low=2 and high=98",
        )
    return Range(*_percentiles(state(path), number, declared_nodata(ref), low, high))


@lru_cache(maxsize=4096)
def _percentiles(
    file: State, index: int, nodata: str | None, low: float, high: float
) -> tuple[float, float]:
    """Return two percentiles of a band's valid pixels; both are 0 if it has none.

    Undeclared fill values do not count as valid.
    """
    kept = sampled(file, index, nodata)
    found = fills(file, index, nodata)
    kept = kept[without_fills(kept, found)] if found else kept
    if not kept.size:
        return 0.0, 0.0
    first, second = np.percentile(kept, (low, high))
    return float(first), float(second)
