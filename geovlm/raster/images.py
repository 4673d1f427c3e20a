"""Opens references to images as RGB pictures: paths as `pictures` does, bands through rasterio.

Images with an agreed appearance are shown: 8-bit grey and colour, palettes, CMYK, bi-level.
Transparent pixels and pixels without data are black. Other images are refused, and the error names
the file and the fix: 16-bit and floating-point values need a range, more than four bands need a
choice of three, and `geovlm.api.Raster` declares both; `reference_of` makes one.

If neither the file nor the reference declares nodata, every value counts as data. The zeros around
a tilted scene are then black as well, but they enter percentiles.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from geovlm.api import Raster, Size
from geovlm.errors import ConfigError, DataError
from geovlm.raster.bands import bands_of, is_index, locate, role_of
from geovlm.raster.decoding import look
from geovlm.raster.files import Window, decimated, layout, opened, state
from geovlm.raster.fills import SAMPLED_PX
from geovlm.raster.masks import declares_nodata
from geovlm.raster.pictures import (
    is_picture,
    open_part,
    open_picture,
    picture_has_data,
    picture_size,
    require_showable,
)
from geovlm.raster.scaling import shown_range, stretched

PERCENTILES = (2.0, 98.0)
"""Percentiles of the whole scene that are shown as black and white, unless a range is chosen."""
_FINER = 2
"""Pixels read per pixel of a reduced window along each side; the others are skipped."""


def open_image(ref: Path | Raster) -> Image.Image:
    """Open an image as a decoded picture in mode RGB.

    A `Raster` is stretched linearly: `low` becomes 0, `high` becomes 255, values outside are
    clipped. Nodata and NaN are black in their band. A band file of another resolution, extent
    or CRS than that of the first band is resampled (bilinear) to it by its georeference.

    Args:
        ref: A path or a `Raster`.

    Raises:
        DataError: The file is absent, empty, cut off, not an image, too large (over 178
            megapixels), or has no agreed appearance; names the file.
    """
    if not isinstance(ref, Raster):
        return open_picture(ref)
    size = image_size(ref)
    return _shown(ref, (0, 0, *size), size=size)


def open_window(ref: Path | Raster, window: Window, *, out_size: Size | None = None) -> Image.Image:
    """Open a part of an image in mode RGB; memory follows the part, not the scene.

    Without `out_size`, the result equals that part of `open_image`: all windows of a scene share
    one scaling. Percentiles come from the whole scene, which is read once, with pixels left out. A
    TIFF or band file may have any size. PNG, JPEG and similar formats have no blocks, and a picture
    that declares an orientation is turned as a whole: these are decoded as a whole (refused over
    178 megapixels), and the last one is kept for the next window.

    Args:
        ref: A path or a `Raster`.
        window: `(column, row, width, height)`, pixels of the image (of a `Raster`: of its first
            band, or of its own window), wholly inside it.
        out_size: Width and height of the result, pixels; default: those of the window. A larger
            window is reduced (with overviews if the file has them), a smaller one enlarged;
            bicubic.

    Raises:
        ValueError: The window is empty or reaches outside the image.
        DataError: See `open_image`.
    """
    whole = scene_size(ref)
    column, row, width, height = window
    inside = 0 <= column < column + width <= whole[0] and 0 <= row < row + height <= whole[1]
    if not inside:
        raise ValueError(f"window {window} is empty or leaves the image of {whole} pixels")
    target = out_size or (width, height)
    factor = max(1.0, min(width / (_FINER * target[0]), height / (_FINER * target[1])))
    size = (math.ceil(width / factor), math.ceil(height / factor))
    if isinstance(ref, Raster):
        image = _shown(ref, window, size=size)
    else:
        image = open_part(ref, window, shape=size[::-1])
    return image if image.size == target else image.resize(target, Image.Resampling.BICUBIC)


def has_data(ref: Path | Raster, window: Window) -> bool:
    """Return True if a window of an image holds any data, however dark; alpha does not count.

    If neither the file nor the reference declares nodata, zeros count as no data. Of a window with
    more than `SAMPLED_PX` along a side, evenly spread pixels are read.

    Raises:
        DataError: See `open_window`.
    """
    shape = decimated(*window[2:], longest=SAMPLED_PX)
    if not isinstance(ref, Raster):
        return picture_has_data(ref, window, shape=shape)
    grid, window = locate(ref, ref.bands[0]).size, _placed(ref, window)
    with bands_of(ref) as bands:
        for name in dict.fromkeys(ref.bands):
            values = bands.values(name, window=window, grid=grid, shape=shape)
            good = ~np.isnan(values)
            if not is_index(ref, name) and ref.nodata is None:
                path, number, _ = locate(ref, name)
                good &= declares_nodata(bands.source(path), number) | (values != 0)
            if good.any():
                return True
    return False


def image_size(ref: Path | Raster) -> Size:
    """Return width and height, pixels: from the header; of a `Raster`: of first band or window.

    Cached until the file changes its length or time, because VQA sets ask a hundred questions about
    one image.

    Raises:
        DataError: See `open_image`; damage behind the header is not noticed. The window of a
            `Raster` is empty or leaves its first band.
    """
    if not isinstance(ref, Raster):
        return picture_size(ref)
    size = scene_size(ref)
    require_showable(locate(ref, ref.bands[0]).path, size)
    return size


def reference_of(
    path: Path,
    *,
    bands: Sequence[str] | None = None,
    value_range: tuple[float, float] | None = None,
) -> Path | Raster:
    """Return a file as an image: the path itself for a picture, else a `Raster`.

    A file is a picture if `open_image` shows it without a choice, see
    `geovlm.raster.appearance.appearance`. Other files show `bands` (names, or numbers from 1: three
    as red, green and blue, or one as grey), or else their only band or their three bands (those
    named red, green and blue as such, in any order). They are stretched from `value_range`, the
    stored values shown as black and white, or else from percentiles of the whole scene; 8-bit
    values are not stretched.

    Raises:
        DataError: The file is missing or not a raster.
        ConfigError: A choice of bands is needed, or `bands` has neither three nor one.
    """
    chosen = three(bands) if bands is not None else None
    if chosen is None and value_range is None and is_picture(path):
        return path
    with opened(path) as source:
        count, kinds, names = source.count, set(source.dtypes), layout(source).names
    eight_bit = kinds == {"uint8"}
    if chosen is None and count not in (1, 3):
        listed = ", ".join(f"{i} {name}".strip() for i, name in enumerate(names, start=1))
        raise ConfigError(
            f"{path} has {count} bands: choose those to show as red, green and blue",
            hint=f"--bands R,G,B by name or number; it has {listed}",
        )
    if chosen is None and count == 1:
        chosen = ("1", "1", "1")
    elif chosen is None:
        called = [role_of(name) for name in names]
        known = {"red", "green", "blue"} <= set(called)
        order = [called.index(each) for each in ("red", "green", "blue")] if known else range(3)
        first, second, third = (str(i + 1) for i in order)
        chosen = (first, second, third)
    index = {name: int(name) for name in chosen if name.isdecimal()}
    made = Raster(file=path, bands=chosen, band_index=index)
    return scaled(made, value_range=value_range, eight_bit=eight_bit)


def three(bands: Sequence[str]) -> tuple[str, str, str]:
    """Return three names of bands; one stands for grey.

    Raises:
        ConfigError: There are neither three nor one.
    """
    given = [band.strip() for band in bands if band.strip()]
    if len(given) == 1:
        given *= 3
    if len(given) != 3:
        raise ConfigError(f"--bands names {len(given)} bands", hint="give three, or one for grey")
    return given[0], given[1], given[2]


def scaled(made: Raster, *, value_range: tuple[float, float] | None, eight_bit: bool) -> Raster:
    """Return a raster with its range: the given one, 0 to 255 of 8-bit values, or percentiles."""
    low, high = value_range or ((0.0, 255.0) if eight_bit else PERCENTILES)
    if value_range or eight_bit:
        return dataclasses.replace(made, low=low, high=high)
    return dataclasses.replace(made, low=low, high=high, scaling="percentile")


def is_turned(ref: Path | Raster) -> bool:
    """Return True if a picture is shown turned or mirrored, by the orientation that it declares.

    Raises:
        DataError: See `open_image`.
    """
    return not isinstance(ref, Raster) and look(state(ref)).turn != 1


def scene_size(ref: Path | Raster) -> Size:
    """Return width and height of an image of any size that `open_window` can read."""
    if not isinstance(ref, Raster):
        return look(state(ref)).size
    return _shown_window(ref)[2:]


def _shown(ref: Raster, window: Window, *, size: Size) -> Image.Image:
    """Read a window of a raster's picture from its bands, stretched, at `size`."""
    grid, window = locate(ref, ref.bands[0]).size, _placed(ref, window)
    made: dict[str, Image.Image] = {}
    with bands_of(ref) as bands:
        for name in dict.fromkeys(ref.bands):
            low, high = shown_range(ref, name)
            values = bands.values(name, window=window, grid=grid, shape=size[::-1])
            made[name] = Image.fromarray(stretched(values, low=low, high=high))
    return Image.merge("RGB", [made[name] for name in ref.bands])


def _shown_window(ref: Raster) -> Window:
    """Return the part of its first band that a raster shows: its `window`, or the whole.

    Raises:
        DataError: The window is empty or leaves the band; names the file. Also as `locate`.
    """
    path, _, size = locate(ref, ref.bands[0])
    if ref.window is None:
        return (0, 0, *size)
    column, row, width, height = ref.window
    if not (0 <= column < column + width <= size[0] and 0 <= row < row + height <= size[1]):
        raise DataError(
            f"{path}: the window {ref.window} is empty or leaves its {size[0]} x {size[1]} px",
            hint="Raster.window is column, row, width, height, in pixels of the first band",
        )
    return ref.window


def _placed(ref: Raster, window: Window) -> Window:
    """Return a window of a raster's picture in pixels of its first band."""
    column, row, *_ = _shown_window(ref)
    return (column + window[0], row + window[1], window[2], window[3])
