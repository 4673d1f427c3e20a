"""Reads the size of a TIFF of one unnamed band without a library.

A check of BigEarthNet opens 5.8 million of them, and GDAL takes a millisecond for each.
"""

from __future__ import annotations

import struct
from pathlib import Path

from geovlm.api import Size

_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_FORMATS = {3: "H", 4: "I"}
"""Type of a TIFF field -> format of `struct`: 16 and 32 bits, the types of sizes and counts."""
_WIDTH, _HEIGHT, _COMPRESSION, _BANDS, _NAMES = 256, 257, 259, 277, 42112
_COMPRESSIONS = frozenset({1, 5, 8, 32773, 32946})
"""None, LZW, deflate, PackBits and deflate again: every build of GDAL reads these."""


def single_band_size(path: Path) -> Size | None:
    """Return width and height of a TIFF of one unnamed band; `None` if GDAL has to read it."""
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
