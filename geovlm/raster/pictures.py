"""Opens files that are pictures: those that Pillow reads, and those whose bands GDAL shows so.

PNG, JPEG and similar formats are read by Pillow. Formats that hold more than pictures, such as
TIFF, JPEG 2000 and VRT, are shown as GDAL describes their bands; a plain TIFF, which both show
alike, is read as a whole by Pillow, which is faster. If one of the two fails, the other one reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from geovlm.api import Size
from geovlm.errors import DataError
from geovlm.raster.appearance import Assumption, NoAppearanceError, appearance, shown, turns
from geovlm.raster.decoding import (
    BROKEN,
    by_pillow,
    decoded,
    frame_count,
    header,
    is_plain,
    look,
    opaqueness,
    require_8_bits,
)
from geovlm.raster.faults import reason
from geovlm.raster.files import State, Window, opened, read, state
from geovlm.raster.headers import upright
from geovlm.raster.masks import (
    OPAQUE_SHARE,
    alpha_hides,
    declares_nodata,
    opaque_share,
    valid,
)

_STRICT = {"GDAL_ERROR_ON_LIBJPEG_WARNING": "YES", "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO"}
"""Options of GDAL without which it fills what is cut off a JPEG or PNG."""
_NOTICING = frozenset({"GTiff", "JP2OpenJPEG", "JPEG", "PNG", "WEBP"})
"""Drivers of GDAL that notice damage as well as Pillow; those of raw formats read zeros."""


def open_picture(path: Path) -> Image.Image:
    """Open the whole picture in mode RGB; transparent, masked and nodata pixels are black.

    Raises:
        NoAppearanceError: Bands or a range have to be chosen first.
        DataError: The file is absent, empty, cut off, not an image, or too large (over 178
            megapixels); names the file.
    """
    file, image = state(path), header(path)
    fault, sure = (image if isinstance(image, Exception) else None), True
    if not isinstance(image, Exception):
        with image:
            if is_plain(image, path):
                require_8_bits(image, path)
                try:
                    return decoded(image, path)
                except BROKEN as error:
                    fault, sure = error, False
    found = look(file)
    require_showable(path, found.size)
    try:
        return _whole(path, found.turn, strict=fault is not None, sure=sure)
    except NoAppearanceError:
        raise
    except DataError as error:
        if isinstance(fault, UnidentifiedImageError):
            raise
        second = fault or by_pillow(path)
        if isinstance(second, Image.Image):
            return second
        why = f"; {reason(error.__cause__)}" if error.__cause__ is not None else ""
        raise DataError(
            f"{path}: the image is damaged or cut off: {second}{why}", hint="copy the file again"
        ) from error


def picture_size(path: Path) -> Size:
    """Return width and height from the header, pixels, the way the picture is seen.

    Raises:
        DataError: See `open_picture`; damage behind the header is not noticed.
    """
    size = look(state(path)).size
    require_showable(path, size)
    return size


def require_showable(path: Path, size: Size) -> None:
    """Raise `DataError` if an image has too many pixels to be shown at once."""
    pixels, most = size[0] * size[1], 2 * (Image.MAX_IMAGE_PIXELS or math.inf)
    if pixels > most:
        raise DataError(
            f"{path}: {pixels} pixels are more than {most} that can be shown at once",
            hint="cut the image into tiles",
        )


def is_picture(path: Path) -> bool:
    """Return True if a readable file has an agreed appearance, of any size.

    Raises:
        DataError: The file is absent, empty or unreadable.
    """
    try:
        look(state(path))
    except NoAppearanceError:
        return False
    return True


def only_pillow_reads(path: Path) -> bool:
    """Return True if a file is a picture of a format that GDAL does not read, such as AVIF.

    Raises:
        DataError: The file is absent, empty or unreadable.
    """
    try:
        with opened(path):
            return False
    except DataError:
        look(state(path))
        return True


def open_part(path: Path, window: Window, *, shape: tuple[int, int]) -> Image.Image:
    """Open a window of a picture in mode RGB, of `shape` (H, W) or its own size.

    A TIFF, JPEG 2000 or VRT is read block by block. Other formats have no blocks, and a picture
    that has to be turned is read as a whole: the last one is kept, at most half a gigabyte.

    Raises:
        DataError: See `open_picture`; a file with blocks may have any size.
    """
    file = state(path)
    found = look(file)
    if not (found.blocks and found.turn == 1):
        return _kept(file).crop(_box(window))
    try:
        with opened(path) as source:
            return shown(source, appearance(source), window=window, shape=shape)
    except NoAppearanceError:
        raise
    except DataError as error:
        try:
            return _kept(file).crop(_box(window))  # perhaps Pillow reads it
        except DataError:
            raise error from None


def picture_has_data(path: Path, window: Window, *, shape: tuple[int, int]) -> bool:
    """Return True if a window of a picture holds any data; see `geovlm.raster.images.has_data`."""
    file = state(path)
    found = look(file)
    if not (found.blocks and found.turn == 1):
        if _kept(file).crop(_box(window)).getbbox() is not None:
            return True
        opaque = _kept_opaqueness(file)
        return opaque is not None and opaque.crop(_box(window)).getbbox() is not None
    with opened(path) as source:
        for index, colour in enumerate(source.colorinterp, start=1):
            if colour.name == "alpha" and alpha_hides(source):
                continue
            values = read(source, index, window=window, shape=shape)
            good = valid(source, index, values=values, window=window, nodata=None)
            if (good & (declares_nodata(source, index) | (values != 0))).any():
                return True
    return False


def assumptions(path: Path) -> tuple[Assumption, ...]:
    """Return what is assumed about a picture that can be read in more than one way.

    Raises:
        DataError: The file is unreadable.
    """
    found = look(state(path))
    made = [] if found.blocks else list(_assumed_by_pillow(path))
    try:
        with opened(path) as source:
            made += appearance(source).assumed if found.blocks else ()
            made += turns(source, declared=found.declared, undone=found.turn)
            if source.driver == "GTiff" and len(source.subdatasets) > 1:
                made.append(_first_of(path, len(source.subdatasets)))
    except DataError:
        pass  # of a format that only Pillow reads, or that it reads better
    return tuple(made)


def _assumed_by_pillow(path: Path) -> Iterator[Assumption]:
    """Yield what is assumed about a PNG, JPEG or similar picture."""
    mask = path.with_name(f"{path.name}.msk")
    if mask.is_file():
        message = f"{path}: {mask.name} is not applied: it lies next to a PNG, JPEG or similar"
        yield Assumption("mask", message, "convert the image to TIFF")
    opaque = opaqueness(path)
    share = None if opaque is None else opaque_share(np.asarray(opaque))
    if share is not None and share < OPAQUE_SHARE:
        message = f"{path}: its alpha, whose values are those of no mask, fades it to black"
        yield Assumption("alpha", message, "if that is no transparency, write the file without it")
    frames = frame_count(path)
    if frames > 1:
        yield _first_of(path, frames)


def _first_of(path: Path, count: int) -> Assumption:
    message = f"{path}: it holds {count} images, of which the first is shown"
    return Assumption("pages", message, "write the others to files of their own")


def _whole(path: Path, turn: int, *, strict: bool, sure: bool) -> Image.Image:
    """Return the whole picture as GDAL shows it, turned upright.

    With `strict`, a JPEG or PNG that is cut off is not filled. Unless it is `sure` that the file is
    whole, only a driver that notices missing parts counts.
    """
    import rasterio

    with rasterio.Env(**_STRICT) if strict else nullcontext(), opened(path) as source:
        if not sure and source.driver not in _NOTICING:
            raise DataError(f"{path}: GDAL's driver {source.driver} does not notice missing parts")
        size = (source.width, source.height)
        picture = shown(source, appearance(source), window=(0, 0, *size), shape=size[::-1])
    return upright(picture, turn)


def _box(window: Window) -> tuple[int, int, int, int]:
    return window[0], window[1], window[0] + window[2], window[1] + window[3]


@lru_cache(maxsize=1)
def _kept(file: State) -> Image.Image:
    return open_picture(file.path)


@lru_cache(maxsize=1)
def _kept_opaqueness(file: State) -> Image.Image | None:
    found = opaqueness(file.path)
    return None if found is None else upright(found, look(file).turn)
