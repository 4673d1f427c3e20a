"""Lays windows over a scene: a grid of one size, or one window around each marked box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from geovlm.api import ModelProfile
from geovlm.errors import ConfigError

SMALLEST_PX = 256
"""Side of the smallest default window: the smallest tiles of common EO data sets."""
LARGEST_PX = 1024
"""Side of the largest default window: the tiles of xBD and GeoChat; it bounds memory."""
_MARGIN = 0.25  # share of a box's longer side, around a box that is larger than the window


class Window(NamedTuple):
    """A part of a scene, pixels of its grid, y down."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid(Sequence[Window]):
    """Windows over an area, row by row, then further ones; each is made when it is read."""

    columns: Sequence[int]
    rows: Sequence[int]
    size: tuple[int, int]
    more: Sequence[Window] = ()
    """Windows after the last row."""

    def __len__(self) -> int:
        return len(self.columns) * len(self.rows) + len(self.more)

    def __getitem__(self, index: int) -> Window:  # type: ignore[override]  # no slices
        if not 0 <= index < len(self):
            raise IndexError(index)
        row, column = divmod(index, len(self.columns))
        if row >= len(self.rows):
            return self.more[index - len(self.columns) * len(self.rows)]
        return Window(self.columns[column], self.rows[row], *self.size)


def grid(area: Window, *, side: int, overlap: int, more: Sequence[Window] = ()) -> Grid:
    """Cover an area by windows of one size.

    An area that is narrower or lower than `side` gets windows as narrow or low as itself. The last
    window of a row or column ends with the area and overlaps its neighbour by more than the others.
    `side` and `overlap` are in pixels; side 0: one window for all. `more` follow the grid.

    Raises:
        ConfigError: The overlap is not smaller than the window, or one of them is negative.
    """
    if side < 0 or overlap < 0 or (side and overlap >= side):
        raise ConfigError(
            f"windows of {side} px cannot overlap by {overlap} px",
            hint="--overlap must be smaller than --window, and neither may be negative",
        )
    from geovlm.raster.places.tiling import starts

    wide, high = min(side or area.width, area.width), min(side or area.height, area.height)
    return Grid(
        columns=[area.x + at for at in starts(area.width, side=wide, overlap=overlap)],
        rows=[area.y + at for at in starts(area.height, side=high, overlap=overlap)],
        size=(wide, high),
        more=more,
    )


def around(box: Sequence[float], area: Window, *, side: int) -> Window:
    """Return a window with a box in its middle, moved into the area.

    Its side is `side`, or that of the box and a quarter of its longer side around it, if larger; 0:
    the whole area. All are in pixels of the grid.

    Raises:
        ConfigError: The box has no area, or lies outside.
    """
    x0, y0, x1, y1 = box[:4]
    inside_x = min(x1, area.x + area.width) - max(x0, area.x)
    inside_y = min(y1, area.y + area.height) - max(y0, area.y)
    if not (x1 > x0 and y1 > y0 and inside_x > 0 and inside_y > 0):
        raise ConfigError(
            f"box {','.join(f'{value:g}' for value in box)} has no area in the image of "
            f"{area.width} x {area.height} px",
            hint="give --box x0,y0,x1,y1 in pixels from the upper left corner, x0 < x1, y0 < y1",
        )
    needed = math.ceil((1 + 2 * _MARGIN) * max(x1 - x0, y1 - y0))
    wanted = max(side, needed) if side else max(area.width, area.height)
    return centred((x0 + x1) / 2, (y0 + y1) / 2, area, size=(wanted, wanted))


def centred(x: float, y: float, area: Window, *, size: tuple[int, int]) -> Window:
    """Return a window with a point in its middle, moved into the area and at most its size."""
    width, height = min(size[0], area.width), min(size[1], area.height)
    return Window(
        _within(round(x - width / 2), width, start=area.x, length=area.width),
        _within(round(y - height / 2), height, start=area.y, length=area.height),
        width,
        height,
    )


def default_side(profile: ModelProfile) -> int:
    """Return the side of the largest square that the model sees unshrunk, in 256..1024 px."""
    unshrunk = math.isqrt(profile.max_pixels) // profile.size_factor * profile.size_factor
    return min(LARGEST_PX, max(SMALLEST_PX, unshrunk))


def _within(at: int, size: int, *, start: int, length: int) -> int:
    return min(max(at, start), start + length - size)
