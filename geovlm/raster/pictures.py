"""Opens ordinary image files as RGB pictures: whole through Pillow, TIFF in windows."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageFile

from geovlm.api import Size
from geovlm.errors import DataError
from geovlm.raster.bands import role_of
from geovlm.raster.faults import reported, require_image
from geovlm.raster.files import (
    State,
    Window,
    cached_layout,
    layout,
    opened,
    read,
    require_finished,
    state,
)

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

USE_RASTER = "declare the image as geovlm.api.Raster with bands, low and high"
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
_OFFSETS = (273, 324)
"""TIFF tags of the offsets of strips and tiles."""
_GDAL_TAGS = (42112, 42113)
"""TIFF tags of GDAL's metadata: names of bands, nodata."""
_SIDECARS = (".msk", ".aux.xml")
"""Endings of the files next to a TIFF that hold a mask or GDAL's metadata."""
_COLOURS = ("red", "green", "blue")
_MODES = {
    ("gray",): "L",
    ("gray", "alpha"): "LA",
    ("red", "green", "blue"): "RGB",
    ("red", "green", "blue", "alpha"): "RGBA",
    ("red", "green", "blue", "undefined"): "RGB",
}
"""Colours of the bands by GDAL's names -> mode of their picture."""


def open_picture(path: Path) -> Image.Image:
    """Open the whole picture in mode RGB; transparent, masked and nodata pixels are black.

    Raises:
        DataError: The file is absent, empty, cut off, not an image, too large (over 178
            megapixels), or has no agreed appearance; names the file.
    """
    with _picture(path) as image:
        if _may_hide(image, path) and _in_windows(state(path)):
            return open_part(path, (0, 0, *image.size), shape=image.size[::-1])
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


@lru_cache(maxsize=65536)
def picture_size(file: State) -> Size:
    """Return width and height from the header, pixels; cached until the file changes.

    Raises:
        DataError: See `open_picture`; damage behind the header is not noticed.
    """
    with _picture(file.path) as image:
        return image.size


def picture_layout(path: Path) -> Size:
    """Return width and height of a picture of any size that can be read in windows, pixels.

    Raises:
        DataError: See `open_picture`; size and damage behind the header do not matter.
    """
    file = state(path)
    return cached_layout(file).size if _in_windows(file) else picture_size(file)


def shows_all(path: Path, *, bands: int) -> bool:
    """Return True if an 8-bit file is a picture with all of its bands, or a picture too large.

    False for bands without colours, and for formats of rasters only (VRT, IMG).

    Raises:
        DataError: The file is absent, empty or unreadable.
    """
    if _in_windows(state(path)):
        return True
    try:
        with Image.open(path) as image:
            return len(image.getbands()) >= bands
    except Image.DecompressionBombError:
        return True
    except _BROKEN:
        return False


def open_part(path: Path, window: Window, *, shape: tuple[int, int]) -> Image.Image:
    """Open a window of a picture in mode RGB, of `shape` (H, W) or its own size.

    A TIFF is read block by block. Other formats have no blocks: they are decoded as a whole, and
    the last one is kept, at most half a gigabyte.

    Raises:
        DataError: See `open_picture`; a TIFF may have any size.
    """
    file = state(path)
    if not _in_windows(file):
        column, row, width, height = window
        return _kept(file).crop((column, row, column + width, row + height))
    with opened(path) as source:
        for index in source.indexes:
            require_finished(source, index)
        mode, numbers = _arranged(source) or ("P", (1,))
        stored = [read(source, number, window=window, shape=shape) for number in numbers]
        if mode == "P":
            table = np.zeros((256, 4), np.uint8)
            for number, colour in source.colormap(1).items():
                table[number] = colour
            picture = Image.fromarray(table[stored[0]])
        else:
            picture = Image.merge(mode, [Image.fromarray(values) for values in stored])
        shown = _on_black(picture)
        hidden = _hidden(source, stored[:1] if len(stored) < 3 else stored[:3], window=window)
        shown.paste((0, 0, 0), mask=Image.fromarray(hidden))
        return shown


def colour_bands(path: Path) -> tuple[int, ...]:
    """Return the numbers of the bands that a TIFF shows: one for grey, or red, green and blue.

    Raises:
        DataError: The file has a palette, or cannot be read.
    """
    with opened(path) as source:
        found = _arranged(source)
    if found is None:
        raise DataError(
            f"{path} has a palette or colours of its own, which cannot be resampled",
            hint="convert it with gdal_translate -expand rgb",
        )
    return found[1][:1] if len(found[1]) < 3 else found[1][:3]


@lru_cache(maxsize=1)
def _kept(file: State) -> Image.Image:
    return open_picture(file.path)


@lru_cache(maxsize=65536)
def _in_windows(file: State) -> bool:
    """Return True for a TIFF of plain 8-bit pixels, which rasterio shows as Pillow does."""
    import rasterio

    try:
        with opened(file.path) as source:
            palette = source.count == 1 and source.colorinterp[0].name == "palette"
            return (
                source.driver == "GTiff"
                and set(source.dtypes) == {"uint8"}
                and not any("NBITS" in source.tags(i, ns="IMAGE_STRUCTURE") for i in source.indexes)
                and source.tags(ns="IMAGE_STRUCTURE").get("SOURCE_COLOR_SPACE") != "CMYK"
                and (palette or _arranged(source) is not None)
            )
    except (DataError, rasterio.errors.RasterioError):
        return False  # Pillow reads it, or reports the fault


def _may_hide(image: ImageFile.ImageFile, path: Path) -> bool:
    """Return True for a TIFF that may declare nodata, a mask or the order of its bands."""
    if image.format != "TIFF":
        return False
    if any(tag in image.tag_v2 for tag in _GDAL_TAGS):  # type: ignore[attr-defined]
        return True
    if any(path.with_name(path.name + ending).is_file() for ending in _SIDECARS):
        return True
    return bool(image.tag_v2.next)  # type: ignore[attr-defined]  # a mask is a second image


def _arranged(source: DatasetReader) -> tuple[str, tuple[int, ...]] | None:
    """Return the mode of a file's picture, and the numbers of the bands in the mode's order.

    Bands that the file names red, green and blue, or `B04`, `B03` and `B02`, are shown as such in
    any order. `None`: the file has a palette, or no agreed colours.
    """
    colours = tuple(colour.name for colour in source.colorinterp)
    if set(colours[:3]) == set(_COLOURS):
        colours = (*_COLOURS, *colours[3:])
    mode = _MODES.get(colours)
    if mode is None:
        return None
    numbers = tuple(range(1, len(Image.new(mode, (1, 1)).getbands()) + 1))
    called = [role_of(name) for name in layout(source).names[:3]]
    if set(called) == set(_COLOURS):
        numbers = (*(called.index(colour) + 1 for colour in _COLOURS), *numbers[3:])
    return mode, numbers


def _hidden(source: DatasetReader, colours: Sequence[np.ndarray], *, window: Window) -> np.ndarray:
    """Return where all colours equal nodata or the mask is 0: (H, W), bool."""
    from rasterio.enums import MaskFlags
    from rasterio.windows import Window as Part

    nodata = source.nodatavals[0]
    hidden = np.zeros(colours[0].shape, bool)
    if nodata is not None:
        hidden = np.logical_and.reduce([values == nodata for values in colours])
    flags = source.mask_flag_enums[0]
    if MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
        with reported(source.name, doing="its mask cannot be read"):
            hidden |= source.read_masks(1, window=Part(*window), out_shape=hidden.shape) == 0
    return hidden


def _on_black(image: Image.Image) -> Image.Image:
    """Return a copy in mode RGB, black where the picture is transparent."""
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
    """Open a file that has an agreed appearance; only its header is read."""
    state(path)
    try:
        image = Image.open(path)
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: {error}", hint="cut the image into tiles") from error
    except _BROKEN as error:
        require_image(path)
        raise _unreadable(path) from error
    with image:
        if image.mode in ("I", "F") or "16" in image.mode or "16" in _raw_mode(image):
            depth = "floating-point" if image.mode == "F" else "more than 8-bit"
            raise DataError(f"{path}: {depth} values have no agreed brightness", hint=USE_RASTER)
        yield image


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """Return the storage of the samples: Pillow cuts 16-bit colour to 8 bits without notice."""
    arguments: Any = image.tile[0][3] if image.tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _unreadable(path: Path) -> DataError:
    """Return the error for a file that Pillow does not know: bands without a choice, or damage."""
    import rasterio

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                bands, kind = source.count, source.dtypes[0]
                names = ", ".join(name for name in source.descriptions if name)
    except rasterio.errors.RasterioError:
        return DataError(
            f"{path}: not a readable image; the file is damaged, cut off or of an unknown format",
            hint="copy the file again",
        )
    named = f", named {names}," if names else ""
    return DataError(f"{path}: {bands} band(s) of {kind}{named} are not a picture", hint=USE_RASTER)
