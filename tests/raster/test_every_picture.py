"""Pictures of every kind equal what rasterio reads of them, by a rule that is written anew."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from PIL import Image
from rasterio.enums import ColorInterp

from geovlm import raster
from geovlm.errors import DataError

HEIGHT, WIDTH = 18, 26
ROWS, COLUMNS = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.uint8)
SHADES = np.stack([ROWS * 9 + 5, COLUMNS * 7 + 20, ROWS * 3 + COLUMNS * 2 + 60, 250 - COLUMNS * 8])
SHADES[:, :3, :4] = 7
"""Four bands, (4, H, W); the corner has one value in all of them, which may be nodata."""
MASK = np.where(COLUMNS < 15, np.uint8(255), np.uint8(0))[None]
INFRARED = np.where(COLUMNS < 15, ROWS * 7 + 40, np.uint8(0))[None].astype(np.uint8)
TURNS = {1: (), 2: "m", 3: "rr", 4: "rrm", 5: "rm", 6: "r", 7: "rrrm", 8: "rrr"}
"""Orientation -> what turns the stored picture upright: r a quarter clockwise, m left for right."""


class Kind(NamedTuple):
    """Bands of a TIFF, and how they are declared."""

    bands: np.ndarray
    profile: dict[str, Any]
    colours: tuple[str, ...] = ()
    descriptions: tuple[str, ...] = ()
    masked: bool = False
    """True if the band that is called alpha is a mask."""


GREY, RGB = {"photometric": "minisblack"}, {"photometric": "rgb"}
ALPHA = {"alpha": "yes"}
KINDS = {
    "grey": Kind(SHADES[:1], GREY),
    "grey, mask": Kind(np.concatenate([SHADES[:1], MASK]), GREY | ALPHA, masked=True),
    "grey, near infrared as alpha": Kind(np.concatenate([SHADES[:1], INFRARED]), GREY | ALPHA),
    "white is 0": Kind(SHADES[:1], {"photometric": "miniswhite"}),
    "palette": Kind(SHADES[:1], {"photometric": "palette"}),
    "1 bit": Kind(SHADES[:1] % 2, GREY | {"nbits": 1}),
    "1 bit, white is 0": Kind(SHADES[:1] % 2, {"photometric": "miniswhite", "nbits": 1}),
    "4 bits": Kind(SHADES[:1] % 16, GREY | {"nbits": 4}),
    "4 bits, colour": Kind(SHADES[:3] % 16, RGB | {"nbits": 4}),
    "colour": Kind(SHADES[:3], RGB),
    "colour and one more": Kind(SHADES, RGB | {"alpha": "unspecified"}),
    "colour, mask": Kind(np.concatenate([SHADES[:3], MASK]), RGB | ALPHA, masked=True),
    "colour, near infrared as alpha": Kind(np.concatenate([SHADES[:3], INFRARED]), RGB | ALPHA),
    "three unnamed": Kind(SHADES[:3], GREY),
    "four unnamed": Kind(SHADES, GREY),
    "blue, green, red": Kind(SHADES[:3], RGB, colours=("blue", "green", "red")),
    "one, then colours": Kind(SHADES, GREY, colours=("undefined", "red", "green", "blue")),
    "named in words": Kind(SHADES, GREY, descriptions=("B02", "B03", "B04", "B08")),
    "cyan to black": Kind(SHADES, {"photometric": "cmyk"}),
    "two": Kind(SHADES[:2], GREY),
    "five": Kind(np.concatenate([SHADES, MASK]), GREY),
    "16 bits": Kind(SHADES[:3].astype("uint16") * 9, RGB),
    "floats": Kind(SHADES[:1].astype("float32"), GREY),
}
COMPRESSIONS = ("none", "lzw", "deflate", "packbits", "zstd", "lzma", "lerc", "jpeg", "webp")
LOSSY = {"jpeg": {"jpeg_quality": 90}, "webp": {"webp_lossless": "yes"}}
MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
FORMATS = {
    "PNG": MODES,
    "BMP": ("1", "L", "P", "RGB"),
    "GIF": ("L", "P"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "JPEG2000": ("L", "RGB", "RGBA"),
    "TIFF": (*MODES, "CMYK"),
}


class Case(NamedTuple):
    """A written file."""

    path: Path
    orientation: int
    masked: bool
    tolerance: int = 0


def declare(path: Path, orientation: int) -> None:
    """Declare the orientation in a TIFF of GDAL, which writes none, in place of an idle tag."""
    data = bytearray(path.read_bytes())
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    tags = [struct.unpack_from("<H", data, at + 2 + 12 * number)[0] for number in range(count)]
    planar = at + 2 + 12 * tags.index(284)
    assert struct.unpack_from("<H", data, planar + 8) == (1,)  # the default
    struct.pack_into("<HHIHH", data, planar, 274, 3, 1, orientation, 0)
    path.write_bytes(data)


def geotiffs(folder: Path, *, share: float, seed: int) -> Iterator[Case]:
    """Write a share of all TIFFs that GDAL writes, chosen at random."""
    options = product(KINDS, COMPRESSIONS, ("pixel", "band"), (False, True), (None, 7), (1, 3, 6))
    chosen = np.random.default_rng(seed)
    for number, (name, compress, interleave, tiled, nodata, orientation) in enumerate(options):
        kind = KINDS[name]
        fits = {
            "jpeg": "nbits" not in kind.profile
            and kind.bands.dtype == np.uint8
            and name not in ("palette", "white is 0", "cyan to black", "five"),
            "webp": name in ("colour", "colour and one more", "colour, mask")
            and interleave == "pixel",
            "lerc": "nbits" not in kind.profile,
        }
        turned = orientation > 1 and (interleave == "band" or nodata is not None)
        unread = name == "cyan to black" and interleave == "band" and tiled  # by GDAL itself
        if turned or unread or not fits.get(compress, True) or chosen.random() > share:
            continue
        path = folder / f"{number}.tif"
        blocks = {"tiled": True, "blockxsize": 16, "blockysize": 16} if tiled else {}
        count, height, width = kind.bands.shape
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            **{"count": count, "height": height, "width": width, "dtype": kind.bands.dtype},
            **{"compress": compress, "interleave": interleave, "nodata": nodata},
            **(kind.profile | blocks | LOSSY.get(compress, {})),
        ) as file:
            if name == "palette":
                file.write_colormap(1, {i: (i, 255 - i, i // 2, 255) for i in range(256)})
            file.write(kind.bands)
        if kind.colours or kind.descriptions:
            with rasterio.open(path, "r+") as file:
                if kind.colours:
                    file.colorinterp = [ColorInterp[colour] for colour in kind.colours]
                else:
                    file.descriptions = kind.descriptions
        if orientation > 1:
            declare(path, orientation)
        yield Case(path, orientation, kind.masked, tolerance=compress == "jpeg" and kind.masked)


def pillows(folder: Path) -> Iterator[Case]:
    """Write pictures of Pillow in all orientations."""
    for (name, modes), orientation in product(FORMATS.items(), TURNS):
        for mode in modes:
            if orientation > 1 and name not in ("PNG", "JPEG", "WEBP", "TIFF"):
                continue
            path = folder / f"{mode}-{orientation}.{name.lower()}"
            stored = Image.fromarray(SHADES[:3].transpose(1, 2, 0))
            if mode in ("LA", "RGBA"):
                stored.putalpha(Image.fromarray(MASK[0]))
            exif = Image.Exif()
            exif[274] = orientation
            lossless = {
                "WEBP": {"lossless": True, "exact": True},
                "JPEG": {"quality": 95, "subsampling": 0},
            }
            options = {"tiffinfo": {274: orientation}} if name == "TIFF" else {"exif": exif}
            options = options if name in ("PNG", "JPEG", "WEBP", "TIFF") else {}
            stored.convert(mode).save(path, format=name, **options, **lossless.get(name, {}))
            yield Case(path, orientation, mode in ("LA", "RGBA"), tolerance=name == "JPEG")


def virtual(folder: Path) -> Iterator[Case]:
    """Write copies of some TIFFs in other formats of GDAL."""
    for name in ("grey", "palette", "colour", "colour and one more", "three unnamed", "16 bits"):
        kind, base = KINDS[name], folder / f"{name}.tif"
        count, height, width = kind.bands.shape
        with rasterio.open(
            base,
            "w",
            driver="GTiff",
            **{"count": count, "height": height, "width": width, "dtype": kind.bands.dtype},
            **kind.profile,
        ) as file:
            if name == "palette":
                file.write_colormap(1, {i: (i, 255 - i, i // 2, 255) for i in range(256)})
            file.write(kind.bands)
        for driver in ("VRT", "HFA", "COG", "ENVI", "PCIDSK"):
            path = folder / f"{name}.{driver}"
            rasterio.shutil.copy(base, path, driver=driver)
            yield Case(path, 1, kind.masked)


def expected(case: Case) -> np.ndarray | str:
    """Return the picture that rasterio's values give, (H, W, 3), or a part of the refusal."""
    with rasterio.open(case.path) as file:
        names = [colour.name for colour in file.colorinterp]
        others = [number for number, name in enumerate(names) if name != "alpha"]
        if len(others) not in (1, 3, 4):
            return f"{file.count} band(s) of {file.dtypes[0]} are not a picture"
        if file.dtypes[0] != "uint8":
            depth = "floating-point" if file.dtypes[0] == "float32" else "more than 8-bit"
            return f"{depth} values have no agreed brightness"
        stored = file.read()
        said = [text or name for text, name in zip(file.descriptions, names, strict=True)]
        for called in (("B04", "B03", "B02"), ("red", "green", "blue")):
            if set(called) <= set(said):
                others = [said.index(colour) for colour in called]
        shown = others[:1] * 3 if len(others) == 1 else others[:3]
        if names[0] == "palette":
            table = np.zeros((256, 3))
            for number, colour in file.colormap(1).items():
                table[number] = colour[:3]
            picture = table[stored[0]]
        else:
            bits = int(file.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", 8))
            picture = np.rint(stored[shown] * (255 / (2**bits - 1))).transpose(1, 2, 0)
            if file.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE"):
                picture = 255 - picture
        if case.masked:
            picture = np.rint(picture * (stored[names.index("alpha")] / 255)[..., None])
        if file.nodata is not None:
            picture[(stored[shown] == file.nodata).all(axis=0)] = 0
    for step in TURNS[case.orientation]:
        picture = np.rot90(picture, -1) if step == "r" else picture[:, ::-1]
    return picture


def faults(case: Case) -> Iterator[str]:
    """Yield one line for each way in which a picture is not what it should be."""
    name, right = case.path.name, expected(case)
    try:
        shown = raster.open_image(case.path)
    except DataError as error:
        if not isinstance(right, str) or right not in str(error):
            yield f"{name} is refused: {error}"
        return
    if isinstance(right, str):
        yield f"{name} is shown, not refused: {right}"
        return
    values = np.asarray(shown).astype(float)
    if values.shape != right.shape or np.abs(values - right).max() > case.tolerance:
        yield f"{name} is another picture"
    if raster.image_size(case.path) != shown.size:
        yield f"{name} has another size"
    width, height = shown.size
    part = raster.open_window(case.path, (3, 2, width - 5, height - 4))
    if part.tobytes() != shown.crop((3, 2, width - 2, height - 2)).tobytes():
        yield f"{name} has other windows"


def test_every_picture_is_what_rasterio_reads_or_is_refused_with_the_reason(
    tmp_path: Path,
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = [*geotiffs(tmp_path, share=0.17, seed=1), *pillows(tmp_path), *virtual(tmp_path)]
        found = [fault for case in cases for fault in faults(case)]
    assert found == []
    assert len(cases) >= 500


@pytest.mark.slow
def test_every_tiff_of_gdal_is_what_rasterio_reads(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = list(geotiffs(tmp_path, share=1, seed=0))
        found = [fault for case in cases for fault in faults(case)]
    assert found == []
    assert len(cases) >= 1500
