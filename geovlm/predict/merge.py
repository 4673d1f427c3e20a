"""One object, one box: detections of overlapping windows merged, turned boxes as such.

Two detections of one label are the same object if

- their shapes agree where both windows look: the IoU of what they cover of the pixels that the two
  windows share is at least `min_iou` (for objects seen whole by both, the plain IoU; within one
  window, where a model repeats itself, likewise); or
- one of them is cut off by its window, and the other, seen whole, covers at least `min_iou` of it.

A detection is *cut* where it reaches, up to a tolerance, an edge of its window behind which the
scene goes on. Of several that are whole, the one nearest to the middle of its window is kept, and
all that are the same as it are dropped. Parts that no window saw whole are joined, and become the
smallest rectangle around them all, at the angle of the largest part.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from geovlm.predict.tiles import Window
from geovlm.rectangles import Box, corners, enclosing

MIN_IOU = 0.5


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


def is_cut(box: Box, window: Window, *, area: Window, tolerance: float) -> bool:
    """Whether a box reaches an edge of its window behind which the scene goes on.

    Args:
        box: pixels of the scene.
        window: where it was seen.
        area: the scene.
        tolerance: pixels.
    """
    hull = enclosing(box)
    right, bottom = window.x + window.width, window.y + window.height
    return (
        (hull.x0 <= window.x + tolerance and window.x > area.x)
        or (hull.y0 <= window.y + tolerance and window.y > area.y)
        or (hull.x1 >= right - tolerance and right < area.x + area.width)
        or (hull.y1 >= bottom - tolerance and bottom < area.y + area.height)
    )


def merge(
    detections: Sequence[Detection], windows: Sequence[Window], *, min_iou: float = MIN_IOU
) -> list[Detection]:
    """The objects, each once, in order of their windows.

    Args:
        detections: of all windows.
        windows: by number of the window.
        min_iou: in (0, 1], see above.
    """
    if not detections:
        return []
    same = _same(detections, windows, min_iou=min_iou)
    whole = [i for i, one in enumerate(detections) if not one.cut]
    dropped: set[int] = set()
    kept: list[int] = []
    for i in sorted(whole, key=lambda i: (_off_middle(detections[i], windows), i)):
        if i not in dropped:
            kept.append(i)
            dropped |= same.get(i, set())
    rest = [i for i, one in enumerate(detections) if one.cut and i not in dropped]
    found = [detections[i] for i in kept]
    found += [_joined([detections[i] for i in group]) for group in _groups(rest, same)]
    return sorted(found, key=lambda one: (one.tile, one.box))


def around(points: Sequence[tuple[float, float]], *, angle_deg: float) -> Box:
    """The smallest rectangle at an angle around points."""
    sin, cos = math.sin(math.radians(angle_deg)), math.cos(math.radians(angle_deg))
    u = [x * cos + y * sin for x, y in points]
    v = [y * cos - x * sin for x, y in points]
    along, across = (min(u) + max(u)) / 2, (min(v) + max(v)) / 2
    x, y = along * cos - across * sin, along * sin + across * cos
    half_w, half_h = (max(u) - min(u)) / 2, (max(v) - min(v)) / 2
    return Box(x - half_w, y - half_h, x + half_w, y + half_h, angle_deg)


def _same(
    detections: Sequence[Detection], windows: Sequence[Window], *, min_iou: float
) -> dict[int, set[int]]:
    """Number of a detection -> those of the same object."""
    import numpy as np
    import shapely

    shapes = shapely.polygons([corners(one.box) for one in detections])
    seen = [windows[one.tile] for one in detections]
    views = shapely.box(
        *np.array([(w.x, w.y, w.x + w.width, w.y + w.height) for w in seen], dtype=float).T
    )
    a, b = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    names = {label: number for number, label in enumerate({one.label for one in detections})}
    labels = np.array([names[one.label] for one in detections])
    chosen = (a < b) & (labels[a] == labels[b])
    a, b = a[chosen], b[chosen]
    shared = shapely.intersection(views[a], views[b])
    first, second = shapely.intersection(shapes[a], shared), shapely.intersection(shapes[b], shared)
    common = shapely.area(shapely.intersection(first, second))
    union = shapely.area(first) + shapely.area(second) - common
    linked = common >= min_iou * np.maximum(union, 1e-9)
    cut = np.array([one.cut for one in detections])
    area = shapely.area(shapes)
    common = shapely.area(shapely.intersection(shapes[a], shapes[b]))
    linked |= cut[a] & ~cut[b] & (common >= min_iou * area[a])
    linked |= cut[b] & ~cut[a] & (common >= min_iou * area[b])
    same: dict[int, set[int]] = defaultdict(set)
    for i, j in zip(a[linked].tolist(), b[linked].tolist(), strict=True):
        same[i].add(j)
        same[j].add(i)
    return same


def _off_middle(one: Detection, windows: Sequence[Window]) -> float:
    """Distance of a box's centre from the middle of its window, squared, pixels."""
    window = windows[one.tile]
    x = (one.box.x0 + one.box.x1) / 2 - window.x - window.width / 2
    y = (one.box.y0 + one.box.y1) / 2 - window.y - window.height / 2
    return x * x + y * y


def _groups(members: Sequence[int], same: Mapping[int, set[int]]) -> list[list[int]]:
    """The connected groups among some detections, in order."""
    left = set(members)
    groups: list[list[int]] = []
    for start in members:
        if start not in left:
            continue
        left.discard(start)
        group, queue = [], [start]
        while queue:
            group.append(queue.pop())
            near = same.get(group[-1], set()) & left
            left -= near
            queue += sorted(near)
        groups.append(sorted(group))
    return groups


def _joined(parts: Sequence[Detection]) -> Detection:
    """The smallest rectangle around the parts, at the angle of the largest one."""
    largest = max(parts, key=lambda one: _area(one.box))
    if len(parts) == 1:
        return largest
    outline = [point for one in parts for point in corners(one.box)]
    return Detection(
        box=around(outline, angle_deg=largest.box.angle_deg),
        label=largest.label,
        tile=largest.tile,
        cut=True,
        parts=sum(one.parts for one in parts),
    )


def _area(box: Box) -> float:
    return (box.x1 - box.x0) * (box.y1 - box.y0)
