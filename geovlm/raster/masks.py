"""Tells pixels with data from pixels without: nodata, masks, and alpha bands that are masks."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from geovlm.raster.faults import reported
from geovlm.raster.files import State, Window, opened, read, spread, state

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

HUGE = 1e20
"""No measurement in use is as large; fills of netCDF and CMIP and the limits of floats are."""
_ROUGH = 1e-3
_STEPS = 2  # of the type, to either side
_SAMPLED_PX = 512
"""Most pixels along a side, evenly spread, from which an alpha band is judged."""
OPAQUE_SHARE = 0.9
"""Least share of opaque pixels among those that a mask does not hide: it has few soft edges."""
_LOSSY = 16
"""Largest error of a mask's values 0 and 255 after a compression such as JPEG."""
_LOSSLESS = frozenset({None, "NONE", "LZW", "DEFLATE", "PACKBITS", "ZSTD", "LZMA"})
"""Compressions of a TIFF that keep all values."""
PICTURE_DRIVERS = frozenset({"PNG", "WEBP", "GIF", "BMP", "JPEG", "AVIF", "JPEGXL"})
"""Formats whose fourth band is transparency by definition."""


def valid(
    source: DatasetReader, index: int, *, values: np.ndarray, window: Window, nodata: float | None
) -> np.ndarray:
    """Return where `values`, read from `window`, are data: (H, W), bool.

    No data are NaN, values equal to `nodata` (`None`: the one that the file declares), and pixels
    at which the file's mask is 0, or its alpha band if that is a mask (see `alpha_hides`).
    """
    from rasterio.windows import Window as Part

    if nodata is None:
        nodata = source.nodatavals[index - 1]
    good = np.ones(values.shape, bool) if values.dtype.kind in "iu" else ~np.isnan(values)
    if nodata is not None and not math.isnan(nodata):
        good &= ~_equal(values, nodata)
    if _masked(source, index):
        with reported(source.name, doing=f"the mask of band {index} cannot be read"):
            mask = source.read_masks(index, window=Part(*window), out_shape=values.shape)
        good &= mask > 0
    return good


def declares_nodata(source: DatasetReader, index: int) -> bool:
    """Return True if a file declares pixels without data by value, mask or alpha.

    A value that the band's type cannot hold does not count.
    """
    nodata = source.nodatavals[index - 1]
    usable = nodata is not None and can_hold(source.dtypes[index - 1], nodata)
    return usable or _masked(source, index)


def can_hold(dtype: str, nodata: float) -> bool:
    """Return False if no pixel of a type can have a value, such as -9999 in uint8."""
    kind = np.dtype(dtype)
    if kind.kind not in "iu":
        return True
    limits = np.iinfo(kind)
    return float(nodata).is_integer() and limits.min <= nodata <= limits.max


def _equal(values: np.ndarray, nodata: float) -> np.ndarray:
    """Return where pixels are equal to a declared value, as numbers of the band's type.

    The text of a file and other types round: two steps of the type count as equal, as they do for
    GDAL (`ARE_REAL_EQUAL`), and a thousandth of a value beyond 1e20, which no measurement has: the
    lowest float is often declared as -3.4e38. Integers are compared exactly.
    """
    if values.dtype.kind in "iu":
        if not can_hold(str(values.dtype), nodata):
            return np.zeros(values.shape, bool)
        return np.asarray(values == int(nodata))
    limits = np.finfo(values.dtype)
    most = float(limits.max)
    near = min(max(nodata, -most), most) if math.isfinite(nodata) else nodata
    stored = values.dtype.type(near)
    low, high = stored, stored
    if abs(near) >= HUGE and math.isfinite(near):
        margin = abs(near) * _ROUGH
        low, high = max(near - margin, -most), min(near + margin, most)
    elif math.isfinite(near):
        for _ in range(_STEPS):
            low, high = np.nextafter(low, -limits.max), np.nextafter(high, limits.max)
    kind = values.dtype.type
    return np.asarray((values >= kind(low)) & (values <= kind(high)))


def alpha_band(source: DatasetReader) -> int | None:
    """Return the number of the band that a file calls alpha; `None` if there is none."""
    names = [colour.name for colour in source.colorinterp]
    return names.index("alpha") + 1 if "alpha" in names else None


def alpha_hides(source: DatasetReader) -> bool:
    """Return True if the band that a file calls alpha is a mask, by its values in the whole file.

    GDAL calls the fourth band of a TIFF alpha unless it is told otherwise, so files of red, green,
    blue and near infrared carry that name too. A band is a mask if nine in ten of its values other
    than 0 are 255, give or take 16 after a compression with losses. A band of zeros is a mask
    unless the others vary below it. In formats such as PNG alpha is transparency by definition.
    """
    number = alpha_band(source)
    if number is None or source.driver in PICTURE_DRIVERS:
        return number is not None
    return _is_mask(state(Path(source.name)), number)


@lru_cache(maxsize=65536)
def _is_mask(file: State, number: int) -> bool:
    with opened(file.path) as source:
        structure = source.tags(ns="IMAGE_STRUCTURE")
        exact = source.driver == "GTiff" and structure.get("COMPRESSION") in _LOSSLESS
        near = 0 if exact else _LOSSY
        parts = list(spread(source, number, longest=_SAMPLED_PX))

        def sampled(index: int) -> np.ndarray:
            found = [read(source, index, window=window, shape=shape) for window, shape in parts]
            return np.concatenate([each.ravel() for each in found])

        alpha = sampled(number)
        share = opaque_share(alpha, near=near)
        if share is not None:
            return share >= OPAQUE_SHARE
        others = [sampled(index) for index in source.indexes if index != number]
        return all(np.ptp(each) <= near for each in others)


def opaque_share(alpha: np.ndarray, *, near: int = _LOSSY) -> float | None:
    """Return the share of opaque pixels among those whose alpha is over `near`; `None`: of none."""
    seen = alpha[alpha > near]
    if not seen.size:
        return None
    top = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 255
    opaque = (seen == 255) | (seen >= top - near)  # some writers put 255 in wide integers
    return float(opaque.mean())


def _masked(source: DatasetReader, index: int) -> bool:
    """Return True if a band has a mask, or an alpha band that is one."""
    from rasterio.enums import MaskFlags

    flags = source.mask_flag_enums[index - 1]
    if MaskFlags.per_dataset not in flags:
        return False
    return MaskFlags.alpha not in flags or alpha_hides(source)
