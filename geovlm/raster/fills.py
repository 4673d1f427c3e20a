"""Finds values that fill pixels without data though nodata is not declared, such as -9999.

A value counts as such a fill if all of this holds for the valid pixels of its band, of which at
most 1024 x 1024 are read, evenly spread over the whole band:

- it is the lowest or the highest value, and finite;
- at least one pixel in a thousand has it;
- it is further from the nearest other value than those are from each other. Of the values that
  nobody measures (-9999, -99999, -32768, -32767, -2147483648, and all beyond 1e20 such as the
  lowest float), a hundredth of that distance is enough, and both are measured without the extreme
  hundredth of the others: resampling mixes a fill with its neighbours.

Percentiles leave out these values, and 65535, 32767, 2147483647, -999 and -28672, which programs
write too. Any other fill may be a lake: it is only reported, and only if the other pixels have at
least 16 different values, so that masks and classes have none. Zeros around a tilted scene are not
told from dark ground by this, unless all ground is bright.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from geovlm.api import Raster
from geovlm.raster.files import State, opened, read, spread
from geovlm.raster.masks import HUGE, valid

SAMPLED_PX = 1024
"""Most pixels along a side, evenly spread over the whole band, for percentiles."""
_LEAST_SHARE = 0.001
_FEWEST_VALUES = 16
_NEVER_MEASURED = frozenset({-9999.0, -99999.0, -32768.0, -32767.0, -2147483648.0})
_USUAL = frozenset({65535.0, 32767.0, 2147483647.0, -999.0, -28672.0})
_NEAR_SHARE = 0.01
_MOST = 4  # different fills of one band


class Fill(NamedTuple):
    """A value that fills pixels without data."""

    value: float
    share: float
    """Share of the band's valid pixels, 0..1."""
    low: float
    """Lowest of the other values; of a value that nobody measures, their percentile 1."""
    high: float
    """Highest of the other values; of a value that nobody measures, their percentile 99."""
    left_out: bool
    """True if percentiles leave the value out and it is shown black."""


def declared_nodata(ref: Raster) -> str | None:
    """Return `nodata` of a raster as text, a key of caches: NaN does not equal itself."""
    return None if ref.nodata is None else repr(float(ref.nodata))


@lru_cache(maxsize=4)
def sampled(file: State, index: int, nodata: str | None) -> np.ndarray:
    """Return the valid finite pixels of a band, evenly spread, as float64; read-only.

    `nodata` is that of `declared_nodata`.
    """
    declared = None if nodata is None else float(nodata)
    found = []
    with opened(file.path) as source:
        for window, shape in spread(source, index, longest=SAMPLED_PX):
            stored = read(source, index, window=window, shape=shape)
            good = valid(source, index, values=stored, window=window, nodata=declared)
            found.append(stored[good & np.isfinite(stored)].astype(np.float64))
    kept = np.concatenate(found)
    kept.flags.writeable = False
    return kept


@lru_cache(maxsize=65536)
def fills(file: State, index: int, nodata: str | None) -> tuple[Fill, ...]:
    """Return the undeclared fill values of a band; see the module for the rule."""
    kept = sampled(file, index, nodata)
    total = kept.size
    found: list[Fill] = []
    while kept.size and len(found) < _MOST:
        fill = next(filter(None, (_fill(kept, v, total) for v in (kept.min(), kept.max()))), None)
        if fill is None:
            break
        found.append(fill)
        kept = kept[kept != fill.value]
    return tuple(found)


def without_fills(values: np.ndarray, found: tuple[Fill, ...]) -> np.ndarray:
    """Return where values are none of the fills that percentiles leave out: (H, W), bool."""
    good = np.ones(values.shape, bool)
    for fill in found:
        if fill.left_out:
            good &= values != values.dtype.type(fill.value)
    return good


def _fill(kept: np.ndarray, value: float, total: int) -> Fill | None:
    same = kept == value
    share = float(np.count_nonzero(same)) / total
    if share < _LEAST_SHARE:
        return None
    others = kept[~same]
    if not others.size:
        return None
    low, high = float(others.min()), float(others.max())
    least = high - low
    never = value in _NEVER_MEASURED or abs(value) >= HUGE
    if never:
        low, high = (float(each) for each in np.percentile(others, (1, 99)))
        least = (high - low) * _NEAR_SHARE
    if not min(abs(low - value), abs(high - value)) > least:
        return None
    known = never or value in _USUAL
    if not known and np.unique(others).size < _FEWEST_VALUES:
        return None
    return Fill(float(value), share, low, high, left_out=known)
