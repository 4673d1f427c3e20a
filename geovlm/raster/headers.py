"""Reads headers without decoding pixels: the size of a plain TIFF, the orientation of a picture."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from PIL import ExifTags, Image, ImageFile, TiffImagePlugin

from geovlm.api import Size

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_FORMATS = {3: "H", 4: "I"}
"""Type of a TIFF field -> format of `struct`: 16 and 32 bits, the types of sizes and counts."""
_WIDTH, _HEIGHT, _COMPRESSION, _BANDS, _NAMES = 256, 257, 259, 277, 42112
_COMPRESSIONS = frozenset({1, 5, 8, 32773, 32946})
"""None, LZW, deflate, PackBits and deflate again: every build of GDAL reads these."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Orientation of EXIF 2.32, section 4.6.4, and of TIFF 6.0, page 36 -> what undoes it."""
_END = 1 << 13
"""Bytes at the end of a PNG in which its EXIF chunk is looked for, if it follows the pixels."""
_TELLING = frozenset({"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"})
"""Parts of a picture's header in which Pillow finds an orientation."""
_TILTED_DEG = 45.0
"""Largest angle between the top of a picture and north: scenes along an orbit have less."""
_FAULTS = (OSError, SyntaxError, ValueError, KeyError, TypeError, EOFError, struct.error)


def single_band_size(path: Path) -> Size | None:
    """Return width and height of a TIFF of one unnamed band; `None` if GDAL has to read it.

    A check of BigEarthNet opens 5.8 million of them, and GDAL takes a millisecond for each.
    """
    if Path(f"{path}.aux.xml").is_file():  # GDAL keeps names of bands there
        return None
    try:
        with path.open("rb") as file:
            order = _ORDERS.get(file.read(4))
            if order is None:
                return None
            file.seek(*struct.unpack(f"{order}I", file.read(4)))
            (number,) = struct.unpack(f"{order}H", file.read(2))
            table = file.read(12 * number)
    except (OSError, struct.error):
        return None
    if len(table) != 12 * number:
        return None
    fields = {
        tag: (kind, count, value)
        for tag, kind, count, value in struct.iter_unpack(f"{order}HHI4s", table)
    }

    def value(tag: int, default: int) -> int:
        kind, count, held = fields.get(tag, (4, 1, struct.pack(f"{order}I", default)))
        if kind not in _FORMATS or count != 1:
            return 0
        return int(struct.unpack_from(order + _FORMATS[kind], held)[0])

    width, height = value(_WIDTH, 0), value(_HEIGHT, 0)
    plain = value(_BANDS, 1) == 1 and value(_COMPRESSION, 1) in _COMPRESSIONS
    return (width, height) if plain and _NAMES not in fields and width and height else None


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return a stored picture the way it is to be seen."""
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def upright_size(size: Size, orientation: int) -> Size:
    """Return width and height of a stored picture the way it is to be seen, pixels."""
    return (size[1], size[0]) if orientation >= 5 else size


def exif_orientation(image: ImageFile.ImageFile) -> int:
    """Return the orientation, 1 to 8, of an open PNG, JPEG, WebP or similar picture.

    Pixels are not decoded. 1, which means upright, if none is declared or EXIF is damaged.
    """
    try:
        if image.format == "PNG" and "exif" not in image.info and image.fp is not None:
            late = _late_exif(image.fp)
            if late is not None:
                image.info["exif"] = late
        if not _TELLING & image.info.keys():
            return 1
        # PngImageFile.getexif decodes the pixels to find a chunk behind them
        return _checked(Image.Image.getexif(image).get(ExifTags.Base.Orientation))
    except _FAULTS:
        return 1


def stored_orientation(source: DatasetReader, path: Path) -> int:
    """Return the orientation, 1 to 8, that a file opened by rasterio declares; 1 if none."""
    if source.driver != "GTiff":
        try:
            return _checked(int(source.tags().get("EXIF_Orientation", 1)))
        except ValueError:
            return 1
    try:
        with path.open("rb") as file:
            head = file.read(16)
            directory = TiffImagePlugin.ImageFileDirectory_v2(head if 43 in head[2:4] else head[:8])
            file.seek(directory.next)
            directory.load(file)
            return _checked(directory.get(ExifTags.Base.Orientation))
    except _FAULTS:
        return 1


def is_placed(source: DatasetReader) -> bool:
    """Return True if a file places its stored pixels on the ground: GDAL turns no such picture."""
    return not source.transform.is_identity or bool(source.gcps[0]) or source.rpcs is not None


def tilted(source: DatasetReader) -> str:
    """Return how the rows of a georeferenced file lie against a map; "" if north is up.

    GDAL's rows run from north to south; a picture is shown as it is stored.
    """
    if source.crs is None or source.transform.is_identity:
        return ""
    a, b, _, d, e, _ = tuple(source.transform)[:6]
    if a * e - b * d > 0:
        return "its rows run from south to north, so it is mirrored against a map"
    angle = math.degrees(math.atan2(b, -e))  # of the stored picture's top against north
    if abs(angle) > _TILTED_DEG:
        return f"its top does not point north, but {abs(angle):.0f}° away from it"
    return ""


def _checked(found: Any) -> int:
    return found if isinstance(found, int) and found in _TURNS else 1


def _late_exif(file: IO[bytes]) -> bytes | None:
    """Return the EXIF data of a PNG from a chunk at the end of the file."""
    before = file.tell()
    file.seek(max(0, file.seek(0, 2) - _END))
    end = file.read()
    file.seek(before)
    at = end.rfind(b"eXIf")
    if at < 4:
        return None
    (size,) = struct.unpack(">I", end[at - 4 : at])
    chunk, kept = end[at : at + 4 + size], end[at + 4 + size : at + 8 + size]
    whole = len(chunk) == 4 + size and kept == zlib.crc32(chunk).to_bytes(4, "big")
    return b"Exif\0\0" + chunk[4:] if whole else None
