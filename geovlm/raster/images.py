"""References to images, as RGB pictures: ordinary files through Pillow, bands through rasterio.

What has an agreed appearance is shown: 8-bit grey and colour, palettes, CMYK, bi-level; where it
is transparent it is black, as where there are no data. What has none is refused with the way out:
16-bit and floating-point values need a stated range, more than four bands a choice of three, and
both are what `geovlm.api.Raster` says. An error names the file.

Where neither the file nor the reference declares nodata, every value counts, the zeros around a
tilted scene too: they are black as well, but they enter percentiles.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from geovlm.api import Raster, Size
from geovlm.errors import DataError
from geovlm.raster.bands import Bands, bands_of, is_index, locate
from geovlm.raster.files import (
    State,
    Window,
    decimated,
    declares_nodata,
    opened,
    read,
    state,
    valid,
)
from geovlm.raster.pictures import open_part, open_picture, picture_layout, picture_size
from geovlm.raster.scaling import SAMPLED_PX, shown_range, stretched

_FINER = 2
"""Pixels read per pixel of a reduced window, along a side; the rest is left out."""


def open_image(ref: Path | Raster) -> Image.Image:
    """The picture in mode RGB, decoded.

    A `Raster` is stretched linearly, `low` to 0 and `high` to 255, values outside are clipped;
    nodata and NaN are black, band by band. Bands of another size than the first are resampled
    (bilinear) to it; band files are taken to cover the same ground.

    Raises:
        DataError: The file is absent, empty, cut off, no image, too large (over 178 megapixels), or
            has no agreed appearance; names the file.
    """
    if not isinstance(ref, Raster):
        return open_picture(ref)
    size = image_size(ref)
    return _shown(ref, (0, 0, *size), grid=size, size=size)


def open_window(ref: Path | Raster, window: Window, *, out_size: Size | None = None) -> Image.Image:
    """A part of an image in mode RGB, read in memory that grows with the part, not with the scene.

    Without `out_size` it is what `open_image` shows there: all windows of a scene share one
    scaling, percentiles included, since these come from the whole scene, read once with pixels
    left out. A TIFF or band file may be of any size; PNG, JPEG and the like have no blocks and are
    decoded as a whole (over 178 megapixels: refused), the last one is kept for the next window.

    Args:
        ref: The image.
        window: `(col_off, row_off, width, height)` in pixels of the image (of a `Raster`: of its
            first band), wholly inside it.
        out_size: Width and height of the result; default: those of the window. A larger window is
            reduced (overviews are used where the file has them), a smaller one enlarged; bicubic.

    Raises:
        ValueError: The window is empty or leaves the image.
        DataError: As `open_image`.
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
        image = _shown(ref, window, grid=whole, size=size)
    else:
        image = open_part(ref, window, shape=size[::-1])
    return image if image.size == target else image.resize(target, Image.Resampling.BICUBIC)


def has_data(ref: Path | Raster, window: Window) -> bool:
    """Whether a window of an image holds any data, however dark; its alpha is none.

    Where neither the file nor the reference says what is no data, zeros are. Of a window of more
    than `SAMPLED_PX` along a side, evenly spread pixels are looked at.

    Raises:
        DataError: As `open_window`.
    """
    shape = decimated(*window[2:], longest=SAMPLED_PX)
    if not isinstance(ref, Raster):
        return _picture_has_data(ref, window, shape=shape)
    grid = scene_size(ref)
    with bands_of(ref) as bands:
        for name in dict.fromkeys(ref.bands):
            values = bands.values(name, window=window, grid=grid, shape=shape)
            good = ~np.isnan(values)
            if not is_index(ref, name) and ref.nodata is None:
                path, number, _ = bands.find(name)
                good &= declares_nodata(bands.source(path), number) | (values != 0)
            if good.any():
                return True
    return False


def image_size(ref: Path | Raster) -> Size:
    """Width and height in pixels, read from the header; of a `Raster`: of its first band.

    Remembered while the file keeps its length and time: VQA sets ask a hundred questions of one
    image.

    Raises:
        DataError: As `open_image`, except for damage behind the header.
    """
    if not isinstance(ref, Raster):
        return _picture_size(state(ref))
    path, _, size = locate(ref, ref.bands[0])
    pixels, most = size[0] * size[1], 2 * (Image.MAX_IMAGE_PIXELS or math.inf)
    if pixels > most:
        raise DataError(
            f"{path}: {pixels} pixels are more than {most} that can be shown at once",
            hint="cut the image into tiles",
        )
    return size


def scene_size(ref: Path | Raster) -> Size:
    """`image_size` of an image of any size that `open_window` can read."""
    return locate(ref, ref.bands[0]).size if isinstance(ref, Raster) else picture_layout(ref)


@lru_cache(maxsize=65536)
def _picture_size(file: State) -> Size:
    return picture_size(file)


def _picture_has_data(path: Path, window: Window, *, shape: tuple[int, int]) -> bool:
    with opened(path) as source:
        for index, colour in enumerate(source.colorinterp, start=1):
            if colour.name == "alpha":
                continue
            values = read(source, index, window=window, shape=shape)
            good = valid(source, index, values=values, window=window, nodata=None)
            if (good & (declares_nodata(source, index) | (values != 0))).any():
                return True
    return False


def _shown(ref: Raster, window: Window, *, grid: Size, size: Size) -> Image.Image:
    """A window of a raster's bands, stretched, at `size`; `grid` is the size of the whole."""
    with bands_of(ref) as bands:
        made = {
            name: _channel(bands, name, window=window, grid=grid, size=size)
            for name in dict.fromkeys(ref.bands)
        }
    return Image.merge("RGB", [made[name] for name in ref.bands])


def _channel(bands: Bands, name: str, *, window: Window, grid: Size, size: Size) -> Image.Image:
    low, high = shown_range(bands, name)
    values = bands.values(name, window=window, grid=grid, shape=size[::-1])
    return Image.fromarray(stretched(values, low=low, high=high))
