"""Rectangles: axis-aligned (HBB) and rotated (RBB) boxes, their hulls, overlap and matching.

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
    """Pixels of the stored image, y down, half-open; degrees clockwise on screen."""

    x0: float
    y0: float
    x1: float
    y1: float
    angle_deg: float = 0.0


def enclosing(box: Box) -> Box:
    """The smallest axis-aligned box around a rotated one; exact at multiples of 90 degrees."""
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
    """The four numbers alone: wrong for elongated objects, but what some evaluations do."""
    return Box(*box[:4]) if box.angle_deg else box


def corners(box: Box) -> tuple[tuple[float, float], ...]:
    """The four corners after rotation, clockwise on screen from the one that was top left."""
    sin, cos = _sin_cos(box.angle_deg)
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    width, height = (box.x1 - box.x0) / 2, (box.y1 - box.y0) / 2
    unrotated = ((-width, -height), (width, -height), (width, height), (-width, height))
    return tuple((x + dx * cos - dy * sin, y + dx * sin + dy * cos) for dx, dy in unrotated)


def iou(a: Box | Sequence[float], b: Box | Sequence[float]) -> float:
    """Intersection over union of the axis-aligned hulls, in [0, 1].

    0 for boxes that only touch and for a box without area. Ignore angles by `drop_angle` first.
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
    """Intersection over union of the rotated boxes themselves, in [0, 1].

    Equal to `iou` for axis-aligned boxes. Descriptions of the same rectangle (angles that differ
    by 180, or sides exchanged with 90) tie at 1 up to rounding; boxes that only touch and boxes
    without area give 0.
    """
    first, second = _polygon(Box(*a)), _polygon(Box(*b))
    if first.area <= 0 or second.area <= 0:
        return 0.0
    shared = first.intersection(second).area
    union = first.area + second.area - shared
    return float(min(1.0, max(0.0, shared / union)))


def overlap(a: Box | Sequence[float], b: Box | Sequence[float]) -> float:
    """`rotated_iou` if one of the boxes is turned, else `iou`, which is the same and faster."""
    a, b = Box(*a), Box(*b)
    return rotated_iou(a, b) if a.angle_deg % 180 or b.angle_deg % 180 else iou(a, b)


def match(
    truth: Sequence[Box | Sequence[float]], predicted: Sequence[Box | Sequence[float]]
) -> list[tuple[int, int, float]]:
    """One-to-one pairs (truth index, predicted index, IoU > 0) of maximal summed IoU.

    In order of the truth; unmatched boxes appear in no pair. Rotated boxes are compared as rotated
    boxes: pass their `enclosing` ones to compare hulls. Where several pairings reach the same sum,
    which one is taken is not specified, but it is always the same for the same input.
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
    pairs = zip(rows.tolist(), columns.tolist(), values, strict=True)
    return [pair for pair in pairs if pair[2] > 0]


def _sin_cos(angle_deg: float) -> tuple[float, float]:
    exact = {0.0: (0.0, 1.0), 90.0: (1.0, 0.0), 180.0: (0.0, -1.0), 270.0: (-1.0, 0.0)}
    turn = angle_deg % 360
    return exact.get(turn) or (math.sin(math.radians(turn)), math.cos(math.radians(turn)))


def _polygon(box: Box) -> Polygon:
    from shapely import Polygon

    return Polygon(corners(box))
