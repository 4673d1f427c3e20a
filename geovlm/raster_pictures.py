"""Ordinary image files as RGB pictures: whole through Pillow, large ones in windows."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageFile

from geovlm.api import Size
from geovlm.errors import DataError
from geovlm.raster_files import (
    State,
    Window,
    opened,
    read,
    refuse_nothing,
    refuse_unfinished,
    remembered,
    state,
)

if TYPE_CHECKING:
    pass

USE_RASTER = "declare the image as geovlm.api.Raster with bands, low and high"
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
_OFFSETS = (273, 324)
"""TIFF tags of the places of strips and tiles."""
_MODES = {
    ("gray",): "L",
    ("gray", "alpha"): "LA",
    ("red", "green", "blue"): "RGB",
    ("red", "green", "blue", "alpha"): "RGBA",
    ("red", "green", "blue", "undefined"): "RGB",
}
"""Colours of the bands as GDAL names them -> mode of the picture that they make."""


def open_picture(path: Path) -> Image.Image:
    """The whole picture in mode RGB; what is transparent is black.

    Raises:
        DataError: The file is absent, empty, cut off, no image, too large (over 178 megapixels), or
            has no agreed appearance; names it.
    """
    with _picture(path) as image:
        offsets = [tag for tag in _OFFSETS if tag in getattr(image, "tag_v2", ())]
        if offsets and not image.tag_v2[offsets[0]][-1]:  # type: ignore[attr-defined]
            raise DataError(
                f"{path}: the last block was never written",
                hint="the writer was stopped half-way: write the file again",
            )
        try:
            image.load()
        except _BROKEN as error:
            raise DataError(
                f"{path}: the image is damaged or cut off: {error}", hint="copy the file again"
            ) from error
        return _on_black(image)


def picture_size(file: State) -> Size:
    """Width and height by the header.

    Raises:
        DataError: As `open_picture`, except for damage behind the header.
    """
    with _picture(file.path) as image:
        return image.size


def picture_layout(path: Path) -> Size:
    """Width and height, of a picture of any size that can be read in windows.

    Raises:
        DataError: As `open_picture`, except for size and for damage behind the header.
    """
    return remembered(state(path)).size if _in_windows(state(path)) else picture_size(state(path))


def open_part(path: Path, window: Window, *, shape: tuple[int, int]) -> Image.Image:
    """A window of a picture in mode RGB, of `shape` (H, W) or its own size.

    A TIFF is read block by block; other formats, which have none, are decoded as a whole and the
    last one is kept, at most half a gigabyte.

    Raises:
        DataError: As `open_picture`; a TIFF may be of any size.
    """
    file = state(path)
    if not _in_windows(file):
        column, row, width, height = window
        return _kept(file).crop((column, row, column + width, row + height))
    with opened(path) as source:
        for index in source.indexes:
            refuse_unfinished(source, index)
        if source.colorinterp[0].name == "palette":
            indices = read(source, 1, window=window, shape=shape)
            table = np.zeros((256, 4), np.uint8)
            for number, colour in source.colormap(1).items():
                table[number] = colour
            return _on_black(Image.fromarray(table[indices]))
        mode = _MODES[tuple(colour.name for colour in source.colorinterp)]
        bands = [
            Image.fromarray(read(source, index, window=window, shape=shape))
            for index in range(1, len(Image.new(mode, (1, 1)).getbands()) + 1)
        ]
        return _on_black(Image.merge(mode, bands))


@lru_cache(maxsize=1)
def _kept(file: State) -> Image.Image:
    return open_picture(file.path)


@lru_cache(maxsize=65536)
def _in_windows(file: State) -> bool:
    """Whether a file is a TIFF of plain 8-bit pixels, which rasterio shows as Pillow does."""
    import rasterio

    try:
        with opened(file.path) as source:
            colours = tuple(colour.name for colour in source.colorinterp)
            return (
                source.driver == "GTiff"
                and set(source.dtypes) == {"uint8"}
                and not any("NBITS" in source.tags(i, ns="IMAGE_STRUCTURE") for i in source.indexes)
                and source.tags(ns="IMAGE_STRUCTURE").get("SOURCE_COLOR_SPACE") != "CMYK"
                and (colours == ("palette",) or colours in _MODES)
            )
    except (DataError, rasterio.errors.RasterioError):
        return False  # Pillow reads it, or says what is wrong with it


def _on_black(image: Image.Image) -> Image.Image:
    """A copy in mode RGB, black where the picture is transparent."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image.copy()
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        black = Image.new("RGB", image.size)
        black.paste(coloured, mask=coloured.getchannel("A"))
        return black
    return image.convert("RGB")


@contextmanager
def _picture(path: Path) -> Iterator[ImageFile.ImageFile]:
    """The file opened by its header alone, if it has an agreed appearance."""
    refuse_nothing(path)
    try:
        image = Image.open(path)
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: {error}", hint="cut the image into tiles") from error
    except _BROKEN as error:
        raise _unreadable(path) from error
    with image:
        if image.mode in ("I", "F") or "16" in image.mode or "16" in _raw_mode(image):
            depth = "floating-point" if image.mode == "F" else "more than 8-bit"
            raise DataError(f"{path}: {depth} values have no agreed brightness", hint=USE_RASTER)
        yield image


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """How the samples are stored: Pillow shows 16-bit colour by its high bytes, unasked."""
    arguments: Any = image.tile[0][3] if image.tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _unreadable(path: Path) -> DataError:
    """What to tell about a file that Pillow does not know: bands without a choice, or damage."""
    import rasterio

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                bands, kind = source.count, source.dtypes[0]
                names = ", ".join(name for name in source.descriptions if name)
    except rasterio.errors.RasterioError:
        return DataError(
            f"{path}: no readable image; the file is damaged, cut off or of an unknown format",
            hint="copy the file again",
        )
    called = f", called {names}," if names else ""
    return DataError(f"{path}: {bands} band(s) of {kind}{called} are no picture", hint=USE_RASTER)
