"""Headers of the plainest files, read without a library: a check looks at hundreds of thousands.

A TIFF of a single band without a name: BigEarthNet alone is 5.8 million of them, and GDAL takes a
millisecond to open one. PNG and JPEG of 8 bits without anything that Pillow looks into: it takes
four times as long.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from geovlm.api import Size

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_FORMATS = {3: "H", 4: "I"}
"""Type of a TIFF field -> that of `struct`: 16 and 32 bits, as sizes and counts are stored."""
_WIDTH, _HEIGHT, _COMPRESSION, _BANDS, _NAMES = 256, 257, 259, 277, 42112
_COMPRESSIONS = frozenset({1, 5, 8, 32773, 32946})
"""None, LZW, deflate, PackBits and deflate again: what every build of GDAL reads."""

_HEAD = 4096  # bytes that are read
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_COLOURS = frozenset({0, 2, 3, 4, 6})
_PNG_LENGTHS = {b"pHYs": 9, b"gAMA": 4, b"sRGB": 1}
_JPEG_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_JPEG_SCAN, _JPEG_QUANTIZERS, _JPEG_JFIF = 0xDA, 0xDB, 0xE0
_JPEG_SKIPPED = frozenset({0xC4, 0xDD, 0xFE})
"""Huffman tables, restart intervals and comments, which say nothing of size or mode."""


def single_band_size(path: Path) -> Size | None:
    """Width and height of a TIFF of one band that gives it no name; `None`: ask GDAL."""
    if Path(f"{path}.aux.xml").is_file():  # GDAL's names of bands
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


def plain_picture_size(path: Path) -> Size | None:
    """Width and height of a PNG or JPEG that Pillow opens without doubt; `None`: ask Pillow."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        if head.startswith(_PNG):
            size = _png_size(head)
        else:
            size = _jpeg_size(head) if head.startswith(b"\xff\xd8\xff") else None
    except (OSError, struct.error):
        return None
    return size if size is not None and min(size) > 0 else None


def _png_size(head: bytes) -> Size | None:
    size: Size | None = None
    at = len(_PNG)
    while True:
        length, name = struct.unpack_from(">I4s", head, at)
        if name == b"IDAT":
            return size
        body = head[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack_from(">I", head, at + 8 + length)
        if checksum != zlib.crc32(body, zlib.crc32(name)) or (size is None) != (name == b"IHDR"):
            return None
        if name == b"IHDR" and length == 13:
            width, height, depth, colours, _, filtered, _ = struct.unpack(">IIBBBBB", body)
            if depth != 8 or colours not in _PNG_COLOURS or filtered:
                return None
            size = width, height
        elif length != _PNG_LENGTHS.get(name, length if name == b"PLTE" else -1):
            return None
        at += 12 + length


def _jpeg_size(head: bytes) -> Size | None:
    size: Size | None = None
    at = 2
    while True:
        start, marker, length = struct.unpack_from(">BBH", head, at)
        body = head[at + 4 : at + 2 + length]
        if start != 0xFF or length < 2 or len(body) != length - 2:
            return None
        if marker == _JPEG_SCAN:
            return size
        if marker in _JPEG_FRAMES:
            depth, height, width, layers = struct.unpack_from(">BHHB", body)
            if depth != 8 or layers not in (1, 3, 4) or len(body) != 6 + 3 * layers:
                return None
            size = width, height
        elif marker == _JPEG_QUANTIZERS:
            if len(body) % 65 or any(body[i] > 15 for i in range(0, len(body), 65)):
                return None
        elif marker == _JPEG_JFIF:
            if not body.startswith(b"JFIF\0") or len(body) < 14:
                return None
        elif marker not in _JPEG_SKIPPED:
            return None
        at += 2 + length
