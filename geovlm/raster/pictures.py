"""Ordinary image files as RGB pictures: whole through Pillow, large ones in windows."""

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
from geovlm.raster.files import (
    State,
    Window,
    layout,
    opened,
    read,
    refuse_nothing,
    refuse_out_of_reach,
    refuse_unfinished,
    remembered,
    state,
)

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

USE_RASTER = "declare the image as geovlm.api.Raster with bands, low and high"
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
_OFFSETS = (273, 324)
"""TIFF tags of the places of strips and tiles."""
_SAYS_MORE = (42112, 42113)
"""TIFF tags of what GDAL says beside the pixels: names of bands, nodata."""
_SIDECARS = (".msk", ".aux.xml")
"""Endings of the files beside a TIFF in which GDAL says more."""
_COLOURS = ("red", "green", "blue")
_MODES = {
    ("gray",): "L",
    ("gray", "alpha"): "LA",
    ("red", "green", "blue"): "RGB",
    ("red", "green", "blue", "alpha"): "RGBA",
    ("red", "green", "blue", "undefined"): "RGB",
}
"""Colours of the bands as GDAL names them -> mode of the picture that they make."""


def open_picture(path: Path) -> Image.Image:
    """The whole picture in mode RGB; what is transparent, masked or nodata is black.

    Raises:
        DataError: The file is absent, empty, cut off, no image, too large (over 178 megapixels), or
            has no agreed appearance; names it.
    """
    with _picture(path) as image:
        if _says_more(image, path) and _in_windows(state(path)):
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


def shows_all(path: Path, *, bands: int) -> bool:
    """Whether an 8-bit file is a picture that has all of its bands in it, or one that is too large.

    Not so are bands that the file calls no colours, and formats of rasters alone (VRT, IMG).

    Raises:
        DataError: The file is absent, empty or out of reach.
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
    """The numbers of the bands that a TIFF of plain pixels shows: one (grey), or red, green, blue.

    Raises:
        DataError: it has a palette, or cannot be read.
    """
    with opened(path) as source:
        found = _arranged(source)
    if found is None:
        raise DataError(
            f"{path} has a palette or colours of its own, which cannot be resampled",
            hint="gdal_translate -expand rgb makes a picture of it",
        )
    return found[1][:1] if len(found[1]) < 3 else found[1][:3]


@lru_cache(maxsize=1)
def _kept(file: State) -> Image.Image:
    return open_picture(file.path)


@lru_cache(maxsize=65536)
def _in_windows(file: State) -> bool:
    """Whether a file is a TIFF of plain 8-bit pixels, which rasterio shows as Pillow does."""
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
        return False  # Pillow reads it, or says what is wrong with it


def _says_more(image: ImageFile.ImageFile, path: Path) -> bool:
    """Whether a file is a TIFF that may declare nodata, a mask or the order of its bands."""
    if image.format != "TIFF":
        return False
    if any(tag in image.tag_v2 for tag in _SAYS_MORE):  # type: ignore[attr-defined]
        return True
    if any(path.with_name(path.name + ending).is_file() for ending in _SIDECARS):
        return True
    return bool(image.tag_v2.next)  # type: ignore[attr-defined]  # a mask is a second image


def _arranged(source: DatasetReader) -> tuple[str, tuple[int, ...]] | None:
    """Mode of the picture that the bands of a file make, and their numbers in its order.

    The bands that the file calls red, green and blue, by these names or such as `B04`, are shown as
    such in whatever order they lie. `None`: the file has a palette, or no agreed colours.
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
    """Where a picture has no data: (H, W), bool. All its colours equal nodata, or the mask is 0."""
    from rasterio.enums import MaskFlags
    from rasterio.windows import Window as Part

    nodata = source.nodatavals[0]
    hidden = np.zeros(colours[0].shape, bool)
    if nodata is not None:
        hidden = np.logical_and.reduce([values == nodata for values in colours])
    flags = source.mask_flag_enums[0]
    if MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
        hidden |= source.read_masks(1, window=Part(*window), out_shape=hidden.shape) == 0
    return hidden


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
        refuse_out_of_reach(path)
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
