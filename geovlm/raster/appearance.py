"""Decides how the bands of a file become a picture, and reads it so through rasterio."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageChops

from geovlm.api import Raster
from geovlm.errors import DataError
from geovlm.raster.bands import role_of
from geovlm.raster.faults import reported
from geovlm.raster.files import Window, layout, opened, read, require_finished
from geovlm.raster.headers import is_placed, tilted
from geovlm.raster.masks import alpha_band, alpha_hides

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

USE_RASTER = "declare the image as geovlm.api.Raster with bands, low and high"
CHOOSE = "say otherwise by --bands, or in a data set by geovlm.api.Raster"
_COLOURS = ("red", "green", "blue")
_OTHER_COLOURS = frozenset({"cyan", "magenta", "yellow", "black", "hue", "saturation", "lightness"})
"""Names of GDAL for colours that are no brightness of red, green or blue."""


class NoAppearanceError(DataError):
    """A readable file that is no picture until bands or a range are chosen."""


class Assumption(NamedTuple):
    """A choice that was made for a file that can be read in more than one way."""

    kind: str
    message: str
    hint: str


class Appearance(NamedTuple):
    """The way from the bands of a file to a picture; bands are numbered from 1."""

    colours: tuple[int, ...]
    """One band of grey or of a palette, or red, green and blue."""
    palette: bool
    alpha: int | None
    """Band whose values fade the picture to black, from 255 to 0."""
    inverted: bool
    """True if 0 is white."""
    most: int
    """Stored value of full brightness."""
    assumed: tuple[Assumption, ...]


def appearance(source: DatasetReader) -> Appearance:
    """Return how the bands of an open file become a picture.

    A picture has 8 bits per value or fewer, and one, three or four bands besides an alpha band.
    Bands that the file names red, green and blue, or `B04`, `B03` and `B02`, are shown as such; if
    none are named so, the first three.

    Raises:
        NoAppearanceError: The file has other values or other bands; names it, and the way out.
    """
    require_picture(source)
    alpha, bands = _alpha_and_others(source)
    colours = [source.colorinterp[index - 1].name for index in bands]
    assumed = []
    if alpha is not None and not alpha_hides(source):
        message = (
            f"{source.name}: band {alpha} is called alpha, but its values are those of no mask"
        )
        assumed.append(Assumption("alpha", f"{message}, so it hides nothing", CHOOSE))
        alpha = None
    chosen = bands[:1] if len(bands) == 1 else bands[:3]
    if len(bands) > 1:
        called = [role_of(layout(source).names[index - 1]) for index in bands]
        order = next((each for each in (called, colours) if set(_COLOURS) <= set(each)), None)
        if order is not None:
            chosen = [bands[order.index(colour)] for colour in _COLOURS]
        else:
            first, second, third = chosen
            message = f"{source.name}: its {len(bands)} bands are not called red, green and blue"
            message += f", so bands {first}, {second} and {third} are shown as these"
            assumed.append(Assumption("colours", message, CHOOSE))
    structure = source.tags(ns="IMAGE_STRUCTURE")
    palette = len(bands) == 1 and colours == ["palette"]
    bits = int(source.tags(chosen[0], ns="IMAGE_STRUCTURE").get("NBITS", 8))
    return Appearance(
        colours=tuple(chosen),
        palette=palette,
        alpha=alpha,
        inverted=structure.get("MINISWHITE") == "YES" and not palette,
        most=2**bits - 1,
        assumed=tuple(assumed),
    )


def require_picture(source: DatasetReader) -> None:
    """Raise `NoAppearanceError` unless values and bands are those of a picture; reads no pixels."""
    bands = _alpha_and_others(source)[1]
    count, colours = len(bands), {source.colorinterp[index - 1].name for index in bands}
    path, kinds = source.name, set(source.dtypes)
    if not source.count:
        raise NoAppearanceError(
            f"{path}: has no band of its own, but {len(source.subdatasets)} data sets inside",
            hint="write one of them to a GeoTIFF with gdal_translate",
        )
    kind = next(iter(kinds)) if len(kinds) == 1 else " and ".join(sorted(kinds))
    if count not in (1, 3, 4):
        names = ", ".join(name for name in source.descriptions if name)
        named = f", named {names}," if names else ""
        raise NoAppearanceError(
            f"{path}: {source.count} band(s) of {kind}{named} are not a picture", hint=USE_RASTER
        )
    if kinds != {"uint8"}:
        depth = f"values of type {kind}"
        if kinds <= {"float32", "float64", "float16"}:
            depth = "floating-point values"
        elif kinds <= {"uint16", "int16", "uint32", "int32", "uint64", "int64"}:
            depth = "more than 8-bit values"
        raise NoAppearanceError(f"{path}: {depth} have no agreed brightness", hint=USE_RASTER)
    if _OTHER_COLOURS & colours:
        raise NoAppearanceError(
            f"{path}: bands of the colours {', '.join(sorted(colours))} are not shown",
            hint="convert it to red, green and blue",
        )


def turns(source: DatasetReader, *, declared: int, undone: int) -> Iterator[Assumption]:
    """Yield what is assumed about the top of an open file: its orientation, and north.

    `declared` is the orientation that the file declares, `undone` the one that is undone.
    """
    if declared != undone:
        why = "because it is georeferenced" if is_placed(source) else "to the bands of a raster"
        yield Assumption(
            "orientation",
            f"{source.name}: it declares orientation {declared}, which is not applied {why}",
            "if that turns the picture upright, write its pixels upright",
        )
    tilt = tilted(source)
    if tilt:
        yield Assumption("north", f"{source.name}: {tilt}", "gdalwarp writes it with north up")


def shown(
    source: DatasetReader, look: Appearance, *, window: Window, shape: tuple[int, int]
) -> Image.Image:
    """Read a window of an open file in mode RGB, of `shape` (H, W).

    Pixels are black where the mask is 0 or where all colours equal the declared nodata, and fade to
    black with alpha.

    Raises:
        DataError: The pixels are damaged, cut off or were never written.
    """
    for index in source.indexes:
        require_finished(source, index)
    stored = [read(source, number, window=window, shape=shape) for number in look.colours]
    if look.palette:
        table = np.zeros((256, 4), np.uint8)
        for number, colour in source.colormap(look.colours[0]).items():
            table[number] = colour
        picture = Image.fromarray(table[stored[0]])
    else:
        values = np.arange(256)
        scaled = np.rint(np.minimum(values, look.most) * (255 / look.most)).astype(np.uint8)
        scaled = 255 - scaled if look.inverted else scaled
        bands = [Image.fromarray(scaled[each]) for each in stored]
        picture = Image.merge("RGB", bands * 3 if len(bands) == 1 else bands)
    if look.alpha is not None:
        seen = Image.fromarray(read(source, look.alpha, window=window, shape=shape))
        if look.palette:
            seen = ImageChops.darker(seen, picture.getchannel("A"))
        picture = picture.convert("RGB")
        picture.putalpha(seen)
    picture = on_black(picture)
    hidden = _hidden(source, look, stored, window=window)
    if hidden is not None:
        picture.paste((0, 0, 0), mask=Image.fromarray(hidden))
    return picture


def on_black(image: Image.Image) -> Image.Image:
    """Return a copy in mode RGB, black where the picture is transparent."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image.copy()
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        black = Image.new("RGB", image.size)
        black.paste(coloured, mask=coloured.getchannel("A"))
        return black
    return image.convert("RGB")


def as_raster(path: Path) -> Raster:
    """Return a picture as a `Raster` of its bands, so that they can be resampled.

    Raises:
        DataError: The file has a palette or 0 as white, or cannot be read.
    """
    with opened(path) as source:
        look = appearance(source)
    if look.palette or look.inverted:
        colours = "a palette" if look.palette else "0 as white"
        raise DataError(
            f"{path} has {colours}, which cannot be resampled",
            hint="convert it with gdal_translate -expand rgb",
        )
    first, second, third = map(str, look.colours * 3 if len(look.colours) == 1 else look.colours)
    index = {str(number): number for number in look.colours}
    return Raster(file=path, bands=(first, second, third), band_index=index, high=float(look.most))


def _alpha_and_others(source: DatasetReader) -> tuple[int | None, list[int]]:
    """Return the number of the band that is called alpha, if there are others, and the others."""
    alpha = alpha_band(source) if source.count > 1 else None
    return alpha, [index for index in source.indexes if index != alpha]


def _hidden(
    source: DatasetReader, look: Appearance, stored: Sequence[np.ndarray], *, window: Window
) -> np.ndarray | None:
    """Return where all colours equal nodata or the mask is 0: (H, W), bool; `None`: nowhere."""
    from rasterio.enums import MaskFlags
    from rasterio.windows import Window as Part

    first = look.colours[0]
    nodata = [source.nodatavals[number - 1] for number in look.colours]
    hidden = None
    if None not in nodata:
        same = [values == value for values, value in zip(stored, nodata, strict=True)]
        hidden = np.logical_and.reduce(same)
    flags = source.mask_flag_enums[first - 1]
    if MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
        shape = stored[0].shape
        with reported(source.name, doing="its mask cannot be read"):
            outside = source.read_masks(first, window=Part(*window), out_shape=shape) == 0
        hidden = outside if hidden is None else hidden | outside
    return hidden
