"""Boxes as rectangles: axis-aligned (HBB) and rotated (RBB), their hulls, IoU and matching.

A `Box` is `x0, y0, x1, y1` in pixels of the stored image, x to the right, y down, half-open. A
rotated box gives the corners *before* rotation about its own centre, and the angle in degrees; a
positive angle turns x towards y, clockwise on screen. Angles that differ by 180 mean the same box.
Everything here is public as `geovlm.boxes`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from shapely import Polygon


class Box(NamedTuple):
    """A box in pixels of the stored image: x right, y down, half-open; degrees clockwise.

    A rotated box holds its corners *before* rotation about its own centre.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    angle_deg: float = 0.0


class Match(NamedTuple):
    """A true and a predicted box that are paired."""

    truth: int
    """Index of the true box."""
    predicted: int
    """Index of the predicted box."""
    iou: float
    """`overlap` of the two, in (0, 1]."""


def enclosing(box: Box) -> Box:
    """Return the smallest axis-aligned box around a rotated one, with angle 0.

    Exact at multiples of 90 degrees; an axis-aligned box is returned as it is. The result may reach
    outside the image.

    Args:
        box: Pixels of the stored image, or any unit that is the same along both axes.

    Example:
        >>> enclosing(Box(0, 0, 40, 20, 90))
        Box(x0=10.0, y0=-10.0, x1=30.0, y1=30.0, angle_deg=0.0)
    """
    if not box.angle_deg:
        return box
    if not box.angle_deg % 180:
        return drop_angle(box)
    sin, cos = _sin_cos(box.angle_deg)
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    width, height = (box.x1 - box.x0) / 2, (box.y1 - box.y0) / 2
    half_x = abs(width * cos) + abs(height * sin)
    half_y = abs(width * sin) + abs(height * cos)
    return Box(x - half_x, y - half_y, x + half_x, y + half_y)


def drop_angle(box: Box) -> Box:
    """Return the box before rotation, with angle 0.

    It misplaces elongated objects, but some evaluations compare boxes in this way; see `enclosing`.

    Example:
        >>> drop_angle(Box(0, 0, 40, 20, 90))
        Box(x0=0, y0=0, x1=40, y1=20, angle_deg=0.0)
    """
    return Box(*box[:4]) if box.angle_deg else box


def corners(box: Box) -> tuple[tuple[float, float], ...]:
    """Return the four corners (x, y) after rotation, in the unit of the box.

    They run clockwise on screen and begin with the one that is top left before rotation.

    Args:
        box: Pixels of the stored image, or any unit that is the same along both axes.

    Example:
        >>> corners(Box(0, 0, 40, 20))
        ((0.0, 0.0), (40.0, 0.0), (40.0, 20.0), (0.0, 20.0))
        >>> corners(Box(0, 0, 40, 20, 90))
        ((30.0, -10.0), (30.0, 30.0), (10.0, 30.0), (10.0, -10.0))
    """
    sin, cos = _sin_cos(box.angle_deg)
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    width, height = (box.x1 - box.x0) / 2, (box.y1 - box.y0) / 2
    unrotated = ((-width, -height), (width, -height), (width, height), (-width, height))
    return tuple((x + dx * cos - dy * sin, y + dx * sin + dy * cos) for dx, dy in unrotated)


def iou(a: Box | Sequence[float], b: Box | Sequence[float]) -> float:
    """Return the intersection over union (IoU) of two axis-aligned boxes, in [0, 1].

    A rotated box is replaced by its `enclosing` box; pass `drop_angle(box)` to ignore the angle, or
    call `overlap` to compare the rotated boxes themselves. 0 for boxes that only touch and for a
    box without area.

    Args:
        a: Four or five numbers, both boxes in the same unit.
        b: Likewise.

    Example:
        >>> iou(Box(0, 0, 10, 10), Box(5, 0, 15, 10))
        0.3333333333333333
        >>> iou(Box(0, 0, 10, 10), Box(10, 0, 20, 10))
        0.0
    """
    if len(a) > 4 and a[4]:
        a = enclosing(Box(*a))
    if len(b) > 4 and b[4]:
        b = enclosing(Box(*b))
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return min(1.0, shared / union) if union > 0 else 0.0


def rotated_iou(a: Box | Sequence[float], b: Box | Sequence[float]) -> float:
    """Return the intersection over union (IoU) of the rotated boxes themselves, in [0, 1].

    Equal to `iou` for axis-aligned boxes. Two descriptions of the same rectangle (angles that
    differ by 180, or sides exchanged with 90 degrees) give 1 up to rounding. 0 for boxes that only
    touch and for a box without area.

    Args:
        a: Four or five numbers, both boxes in the same unit.
        b: Likewise.

    Example:
        >>> round(rotated_iou(Box(0, 0, 40, 20, 90), Box(10, -10, 30, 30)), 6)
        1.0
        >>> round(rotated_iou(Box(0, 0, 10, 10), Box(0, 0, 10, 10, 45)), 3)
        0.707
    """
    first, second = _polygon(Box(*a)), _polygon(Box(*b))
    if first.area <= 0 or second.area <= 0:
        return 0.0
    shared = first.intersection(second).area
    union = first.area + second.area - shared
    return float(min(1.0, max(0.0, shared / union)))


def overlap(a: Box | Sequence[float], b: Box | Sequence[float]) -> float:
    """Return the intersection over union (IoU) of two boxes, in [0, 1], rotated or not.

    It is `rotated_iou` if a box is turned, else `iou`, which is the same and faster. 0 for boxes
    that only touch and for a box without area.

    Args:
        a: Four or five numbers, both boxes in the same unit.
        b: Likewise.

    Example:
        >>> overlap([0, 0, 10, 10], [0, 0, 10, 5])
        0.5
        >>> round(overlap([0, 0, 10, 10], [0, 0, 10, 10, 45]), 3)
        0.707
    """
    a, b = Box(*a), Box(*b)
    return rotated_iou(a, b) if a.angle_deg % 180 or b.angle_deg % 180 else iou(a, b)


def match(
    truth: Sequence[Box | Sequence[float]], predicted: Sequence[Box | Sequence[float]]
) -> list[Match]:
    """Pair true and predicted boxes one to one so that the sum of their IoU is largest.

    The IoU is that of `overlap`; pass `enclosing` boxes to compare hulls. Pairs with IoU 0 are left
    out. If several pairings reach the same sum, one of them is returned, always the same for the
    same input.

    Args:
        truth: Four or five numbers each, all boxes in the same unit.
        predicted: Likewise.

    Returns:
        The pairs, in order of the true boxes; empty if one side is. An unmatched box is in no pair.

    Example:
        >>> match([Box(0, 0, 10, 10), Box(50, 50, 60, 60)], [Box(0, 0, 10, 5)])
        [Match(truth=0, predicted=0, iou=0.5)]
    """
    if not truth or not predicted:
        return []
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    first, second = [Box(*box) for box in truth], [Box(*box) for box in predicted]
    a = np.array([enclosing(box) for box in first], dtype=float)
    b = np.array([enclosing(box) for box in second], dtype=float)
    width = np.minimum(a[:, None, 2], b[:, 2]) - np.maximum(a[:, None, 0], b[:, 0])
    height = np.minimum(a[:, None, 3], b[:, 3]) - np.maximum(a[:, None, 1], b[:, 1])
    shared = np.where((width > 0) & (height > 0), width * height, 0.0)
    sizes = [(each[:, 2] - each[:, 0]) * (each[:, 3] - each[:, 1]) for each in (a, b)]
    union = sizes[0][:, None] + sizes[1] - shared
    table = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    if any(box.angle_deg % 180 for box in (*first, *second)):
        for i, j in zip(*np.nonzero(table > 0), strict=True):
            if first[i].angle_deg % 180 or second[j].angle_deg % 180:
                table[i, j] = rotated_iou(first[i], second[j])
    rows, columns = linear_sum_assignment(table, maximize=True)
    values = table[rows, columns].tolist()
    pairs = map(Match, rows.tolist(), columns.tolist(), values)
    return [pair for pair in pairs if pair.iou > 0]


def _sin_cos(angle_deg: float) -> tuple[float, float]:
    exact = {0.0: (0.0, 1.0), 90.0: (1.0, 0.0), 180.0: (0.0, -1.0), 270.0: (-1.0, 0.0)}
    turn = angle_deg % 360
    return exact.get(turn) or (math.sin(math.radians(turn)), math.cos(math.radians(turn)))


def _polygon(box: Box) -> Polygon:
    from shapely import Polygon

    return Polygon(corners(box))
