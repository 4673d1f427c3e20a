"""Stored values as brightness: the range of each band or index, and 0..255 from it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from geovlm.errors import DataError
from geovlm.raster_bands import Bands, is_index, locate
from geovlm.raster_files import State, decimated, opened, read, state, valid

SAMPLED_PX = 1024
"""Longest side of the pixels, evenly spread over the whole band, that percentiles come from."""


def stretched(values: np.ndarray, *, low: float, high: float) -> np.ndarray:
    """Values as (H, W) uint8: `low` to 0, `high` to 255, clipped; NaN is 0.

    Where both are the same, as percentiles of a flat band are, what lies above is 255.
    """
    if high == low:
        return np.where(values > high, 255, 0).astype(np.uint8)
    scaled = (values - np.float32(low)) * np.float32(255.0 / (high - low))
    np.nan_to_num(scaled, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def shown_range(bands: Bands, name: str) -> tuple[float, float]:
    """The values of a band or an index that are shown as 0 and 255.

    Raises:
        DataError: The declared ones are none; names the file.
    """
    ref = bands.ref
    declared = ref.ranges.get(name)
    if declared is None and is_index(ref, name):
        return -1.0, 1.0
    low, high = declared or (ref.low, ref.high)
    if not high > low:
        raise DataError(
            f"{locate(ref, name).path}: low={low} is not below high={high}",
            hint="low is the stored value shown as black, high the one shown as white",
        )
    if declared is not None or ref.scaling == "range":
        return low, high
    path, number, _ = bands.find(name)
    if not (low >= 0 and high <= 100):
        raise DataError(
            f"{path}: low={low} and high={high} are no percentiles",
            hint="percentiles lie in 0..100, such as low=2 and high=98",
        )
    nodata = None if ref.nodata is None else repr(ref.nodata)
    return _percentiles(state(path), number, nodata, low, high)


@lru_cache(maxsize=4096)
def _percentiles(
    file: State, index: int, nodata: str | None, low: float, high: float
) -> tuple[float, float]:
    """Two percentiles of a band's valid pixels; both 0 if it has none."""
    with opened(file.path) as source:
        window = (0, 0, source.width, source.height)
        shape = decimated(source.width, source.height, longest=SAMPLED_PX)
        stored = read(source, index, window=window, shape=shape)
        declared = None if nodata is None else float(nodata)
        good = valid(source, index, values=stored, window=window, nodata=declared)
    kept = stored[good & np.isfinite(stored)].astype(np.float64)
    if not kept.size:
        return 0.0, 0.0
    first, second = np.percentile(kept, (low, high))
    return float(first), float(second)
