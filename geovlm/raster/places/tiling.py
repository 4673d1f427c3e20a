"""Lays windows of one size along a side of a scene."""

from __future__ import annotations

import math


def starts(length: int, *, side: int, overlap: int) -> list[int]:
    """Return where windows begin that cover a length, pixels.

    The last one ends with the length, and overlaps its neighbour by more than the others. A window
    that is as long as the length, or longer, begins at 0.

    Args:
        length: Pixels to cover.
        side: Length of a window, above 0.
        overlap: Pixels that neighbours share, at least 0 and below `side`.
    """
    if side >= length:
        return [0]
    number = math.ceil((length - overlap) / (side - overlap))
    return [min(index * (side - overlap), length - side) for index in range(number)]
