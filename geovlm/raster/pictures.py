"""Opens files that are pictures: those that Pillow reads, and those whose bands GDAL shows so.

PNG, JPEG and similar formats are read by Pillow. Formats that hold more than pictures, such as
TIFF, JPEG 2000 and VRT, are shown as GDAL describes their bands; a plain TIFF, which both show
alike, is read as a whole by Pillow, which is faster. If one of the two fails, the other one reads.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from geovlm.api import Size
from geovlm.errors import DataError
from geovlm.raster.appearance import (
    Assumption,
    NoAppearanceError,
    appearance,
    require_picture,
    shown,
    turns,
)
from geovlm.raster.decoding import (
    BROKEN,
    applied_orientation,
    by_pillow,
    decoded,
    header,
    is_plain,
    is_plain_to_gdal,
    is_stub,
    opaqueness,
    require_8_bits,
)
from geovlm.raster.faults import reason
from geovlm.raster.files import State, Window, opened, read, state
from geovlm.raster.headers import (
    exif_orientation,
    is_placed,
    stored_orientation,
    upright,
    upright_size,
)
from geovlm.raster.masks import PICTURE_DRIVERS, alpha_hides, declares_nodata, valid

_STRICT = {"GDAL_ERROR_ON_LIBJPEG_WARNING": "YES", "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO"}
"""Options of GDAL without which it fills what is cut off a JPEG or PNG."""
_NOTICING = frozenset({"GTiff", "JP2OpenJPEG", "JPEG", "PNG", "WEBP", "GIF", "BMP"})
"""Drivers of GDAL that notice a file that is cut off; those of raw formats read zeros."""
_UNKNOWN = "not recognized as being in a supported file format"
"""GDAL's words for a file of no format that it reads."""


class Look(NamedTuple):
    """The way in which a picture file is read."""

    size: Size
    """Width and height as it is seen, pixels."""
    blocks: bool
    """True if GDAL reads a window without the rest."""
    declared: int
    """Orientation, 1 to 8, that the file declares."""
    turn: int
    """Orientation that is undone: 1, if the file places its stored pixels on the ground."""


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


@lru_cache(maxsize=65536)
def look(file: State) -> Look:
    """Return how a file of any size is read, from its header; cached until the file changes.

    Raises:
        NoAppearanceError: Bands or a range have to be chosen first.
        DataError: The file is unreadable; damage behind the header is not noticed.
    """
    path, image = file.path, header(file.path)
    if isinstance(image, Exception):
        return _look_by_gdal(path, image)
    with image:
        if is_plain_to_gdal(image):
            return Look(image.size, True, 1, 1)
        if is_plain(image, path):
            require_8_bits(image, path)
            declared = 1 if image.format == "TIFF" else exif_orientation(image)
            turn = applied_orientation(path, declared)
            return Look(upright_size(image.size, turn), False, declared, turn)
        try:
            return _look_by_gdal(path, None)
        except NoAppearanceError:
            raise
        except DataError:
            if is_stub(image):
                raise
            require_8_bits(image, path)
            return Look(image.size, False, 1, 1)


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
    made: list[Assumption] = []
    mask = path.with_name(f"{path.name}.msk")
    if not found.blocks and mask.is_file():
        message = f"{path}: {mask.name} is not applied: it lies next to a PNG, JPEG or similar"
        made.append(Assumption("mask", message, "convert the image to TIFF"))
    try:
        with opened(path) as source:
            made += appearance(source).assumed if found.blocks else ()
            made += turns(source, declared=found.declared, undone=found.turn)
    except DataError:
        pass  # of a format that only Pillow reads, or that it reads better
    return tuple(made)


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


def _look_by_gdal(path: Path, fault: Exception | None) -> Look:
    """Return how GDAL shows a file; `fault` is why Pillow does not, `None` if it might."""
    try:
        with opened(path) as source:
            require_picture(source)
            declared = stored_orientation(source, path)
            turn = 1 if is_placed(source) else declared
            size = upright_size((source.width, source.height), turn)
            blocks = source.driver not in PICTURE_DRIVERS
            if blocks or not isinstance(fault, Image.DecompressionBombError):
                return Look(size, blocks, declared, turn)
    except NoAppearanceError:
        raise
    except DataError as error:
        if isinstance(fault, UnidentifiedImageError) and _UNKNOWN in error.args[0]:
            why = "not a readable image; the file is damaged, cut off or of an unknown format"
            raise DataError(f"{path}: {why}", hint="copy the file again") from error
        if not isinstance(fault, Image.DecompressionBombError):
            raise
    raise DataError(f"{path}: {fault}", hint="cut the image into tiles")


def _box(window: Window) -> tuple[int, int, int, int]:
    return window[0], window[1], window[0] + window[2], window[1] + window[3]


@lru_cache(maxsize=1)
def _kept(file: State) -> Image.Image:
    return open_picture(file.path)


@lru_cache(maxsize=1)
def _kept_opaqueness(file: State) -> Image.Image | None:
    found = opaqueness(file.path)
    return None if found is None else upright(found, look(file).turn)
