"""What a window's answer says there is, and how far the window shows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from geovlm.boxes.rectangle import Box, corners, enclosing
from geovlm.predict.windows.tiles import Window


@dataclass(frozen=True, kw_only=True, slots=True)
class Detection:
    """A box that a window's answer names."""

    box: Box
    """Pixels of the scene."""
    label: str
    tile: int
    """Number of the window."""
    cut: bool = False
    parts: int = 1
    """Detections that were joined into this one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Views:
    """What was looked at."""

    windows: Sequence[Window]
    """By number of the window."""
    area: Window
    """The scene."""
    tolerance: float
    """Pixels of the scene: what is this near to an edge of a window is taken to lie on it."""

    def inner(self, tile: int) -> tuple[float, float, float, float]:
        """x0, y0, x1, y1 of a window without its rim; there is none where the scene ends too."""
        x, y, width, height = self.windows[tile]
        area, rim = self.area, self.tolerance
        right, bottom = x + width, y + height
        return (
            x + rim if x > area.x else -math.inf,
            y + rim if y > area.y else -math.inf,
            right - rim if right < area.x + area.width else math.inf,
            bottom - rim if bottom < area.y + area.height else math.inf,
        )

    def cuts(self, box: Box, tile: int) -> bool:
        """Whether a box reaches an edge of its window behind which the scene goes on."""
        hull, (x0, y0, x1, y1) = enclosing(box), self.inner(tile)
        return hull.x0 <= x0 or hull.y0 <= y0 or hull.x1 >= x1 or hull.y1 >= y1

    def shows(self, box: Box, tile: int) -> tuple[bool, bool, bool, bool]:
        """Whether a window shows anything of the box's left, top, right and bottom side.

        The sides are those before rotation. A box drawn around what is left of an object that the
        window cuts has, where it is cut, a side that touches the window's edge from outside.
        """
        ring, inner = corners(box), self.inner(tile)
        ends = ((0, 3), (0, 1), (1, 2), (3, 2))
        left, top, right, bottom = (_passes(ring[i], ring[j], inner) for i, j in ends)
        return left, top, right, bottom


def around(points: Sequence[tuple[float, float]], *, angle_deg: float) -> Box:
    """The smallest rectangle at an angle around points."""
    sin, cos = math.sin(math.radians(angle_deg)), math.cos(math.radians(angle_deg))
    along = [x * cos + y * sin for x, y in points]
    across = [y * cos - x * sin for x, y in points]
    return turned(min(along), min(across), max(along), max(across), angle_deg=angle_deg)


def turned(u0: float, v0: float, u1: float, v1: float, *, angle_deg: float) -> Box:
    """The box whose sides lie at these coordinates of axes turned about the scene's corner."""
    sin, cos = math.sin(math.radians(angle_deg)), math.cos(math.radians(angle_deg))
    along, across = (u0 + u1) / 2, (v0 + v1) / 2
    x, y = along * cos - across * sin, along * sin + across * cos
    half_w, half_h = (u1 - u0) / 2, (v1 - v0) / 2
    return Box(x - half_w, y - half_h, x + half_w, y + half_h, angle_deg)


def sides(box: Box, *, angle_deg: float) -> tuple[float, float, float, float]:
    """The inverse of `turned`, of a box at that angle."""
    sin, cos = math.sin(math.radians(angle_deg)), math.cos(math.radians(angle_deg))
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    half_w, half_h = (box.x1 - box.x0) / 2, (box.y1 - box.y0) / 2
    along, across = x * cos + y * sin, y * cos - x * sin
    return along - half_w, across - half_h, along + half_w, across + half_h


def _passes(
    start: tuple[float, float], end: tuple[float, float], inner: tuple[float, float, float, float]
) -> bool:
    """Whether a segment passes through the open rectangle x0, y0, x1, y1."""
    enter, leave = 0.0, 1.0
    for axis in (0, 1):
        low, high, at = inner[axis], inner[axis + 2], start[axis]
        step = end[axis] - at
        if not step:
            if not low < at < high:
                return False
            continue
        first, last = sorted(((low - at) / step, (high - at) / step))
        enter, leave = max(enter, first), min(leave, last)
    return enter < leave
