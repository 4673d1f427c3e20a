"""Detections of one window, and the sides of a box that the window shows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from geovlm.boxes import Box, corners, enclosing
from geovlm.predict.windows.tiles import Window

Sides: TypeAlias = tuple[float, float, float, float]
"""Coordinates of the sides of a rectangle: left, top, right, bottom."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Detection:
    """A box in the answer about a window."""

    box: Box
    """Pixels of the scene."""
    label: str
    tile: int
    """Number of the window."""
    cut: bool = False
    """True if its window cuts the object off; see `Views.cuts`."""
    parts: int = 1
    """Number of detections that are joined in this one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Views:
    """All windows of a scene."""

    windows: Sequence[Window]
    """By number of the window."""
    area: Window
    """The scene."""
    tolerance: float
    """Distance from an edge of a window, pixels of the scene, up to which a box touches it."""

    def inner(self, tile: int) -> Sides:
        """Return a window without its rim, infinite where the scene ends with the window."""
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
        """Return True if a box reaches an edge of its window beyond which the scene continues."""
        hull, (x0, y0, x1, y1) = enclosing(box), self.inner(tile)
        return hull.x0 <= x0 or hull.y0 <= y0 or hull.x1 >= x1 or hull.y1 >= y1

    def shows(self, box: Box, tile: int) -> tuple[bool, ...]:
        """Return True for each side of a box, in order of `Sides`, that a window shows in part.

        The box around the visible part of an object that the window cuts has a side on the window's
        edge, which the window does not show.
        """
        ring, inner = corners(box), self.inner(tile)
        ends = ((0, 3), (0, 1), (1, 2), (3, 2))
        return tuple(_passes(ring[i], ring[j], inner) for i, j in ends)


def around(points: Sequence[tuple[float, float]], *, angle_deg: float) -> Box:
    """Return the smallest rectangle at an angle around points (x, y)."""
    sin, cos = math.sin(math.radians(angle_deg)), math.cos(math.radians(angle_deg))
    along = [x * cos + y * sin for x, y in points]
    across = [y * cos - x * sin for x, y in points]
    return turned(min(along), min(across), max(along), max(across), angle_deg=angle_deg)


def turned(u0: float, v0: float, u1: float, v1: float, *, angle_deg: float) -> Box:
    """Return the box with these sides on axes that are turned about the scene's corner."""
    sin, cos = math.sin(math.radians(angle_deg)), math.cos(math.radians(angle_deg))
    along, across = (u0 + u1) / 2, (v0 + v1) / 2
    x, y = along * cos - across * sin, along * sin + across * cos
    half_w, half_h = (u1 - u0) / 2, (v1 - v0) / 2
    return Box(x - half_w, y - half_h, x + half_w, y + half_h, angle_deg)


def sides(box: Box, *, angle_deg: float) -> Sides:
    """Return the sides of a box at that angle; the inverse of `turned`."""
    sin, cos = math.sin(math.radians(angle_deg)), math.cos(math.radians(angle_deg))
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    half_w, half_h = (box.x1 - box.x0) / 2, (box.y1 - box.y0) / 2
    along, across = x * cos + y * sin, y * cos - x * sin
    return along - half_w, across - half_h, along + half_w, across + half_h


def _passes(start: tuple[float, float], end: tuple[float, float], inner: Sides) -> bool:
    """Return True if a segment passes through the open rectangle."""
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
