"""Merges the detections of overlapping windows so that each object has one box.

Two detections of one label are the same object if

- their shapes agree on the pixels that both windows show: there, their IoU is at least `min_iou`
  (for two whole objects this is the plain IoU, also within one window, where a model repeats
  itself); or
- one of them is cut off by its window, and the other is whole and covers at least `min_iou` of it.

A detection is *cut* if it reaches, up to a tolerance, an edge of its window beyond which the scene
continues. Of several whole detections, the one nearest to the middle of its window is kept, and
those of the same object are dropped. Parts that no window shows whole are joined: each side of the
object is the mean of the windows that show this side. A cut part that remains is dropped if an
object that was found covers at least `min_iou` of it, up to the tolerance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from geovlm.boxes import Box, corners
from geovlm.predict.windows.detections import Detection, Views, around, sides, turned

MIN_IOU = 0.5
"""IoU from which two detections are the same object."""


def merge(
    detections: Sequence[Detection], views: Views, *, min_iou: float = MIN_IOU
) -> list[Detection]:
    """Return the objects, each once, in order of their windows; `min_iou` is in (0, 1]."""
    if not detections:
        return []
    same = _same(detections, views, min_iou=min_iou)
    whole = [i for i, one in enumerate(detections) if not one.cut]
    dropped: set[int] = set()
    kept: list[int] = []
    for i in sorted(whole, key=lambda i: (_off_middle(detections[i], views), i)):
        if i not in dropped:
            kept.append(i)
            dropped |= same.get(i, set())
    rest = [i for i, one in enumerate(detections) if one.cut and i not in dropped]
    joined = [_joined([detections[i] for i in group], views) for group in _groups(rest, same)]
    found = [detections[i] for i in kept]
    found += _uncovered(joined, found, tolerance=views.tolerance, min_iou=min_iou)
    return sorted(found, key=lambda one: (one.tile, one.box))


def _same(detections: Sequence[Detection], views: Views, *, min_iou: float) -> dict[int, set[int]]:
    """Return, for the number of a detection, those of the same object."""
    import numpy as np
    import shapely

    shapes = shapely.polygons([corners(one.box) for one in detections])
    seen = [views.windows[one.tile] for one in detections]
    frames = shapely.box(
        *np.array([(w.x, w.y, w.x + w.width, w.y + w.height) for w in seen], dtype=float).T
    )
    a, b = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    names = {label: number for number, label in enumerate({one.label for one in detections})}
    labels = np.array([names[one.label] for one in detections])
    chosen = (a < b) & (labels[a] == labels[b])
    a, b = a[chosen], b[chosen]
    shared = shapely.intersection(frames[a], frames[b])
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


def _off_middle(one: Detection, views: Views) -> float:
    """Return the squared distance of a box's centre from the middle of its window, pixels."""
    window = views.windows[one.tile]
    x = (one.box.x0 + one.box.x1) / 2 - window.x - window.width / 2
    y = (one.box.y0 + one.box.y1) / 2 - window.y - window.height / 2
    return x * x + y * y


def _groups(members: Sequence[int], same: Mapping[int, set[int]]) -> list[list[int]]:
    """Return the connected groups of some detections, in order."""
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


def _joined(parts: Sequence[Detection], views: Views) -> Detection:
    """Return one object from its parts, at the angle of the largest part.

    A side is the mean of the parts whose windows show it, without those that end more than the
    tolerance before the outermost part. If no window shows it, it is that of the outermost part.
    The mean is taken because the numbers of answers are rounded, which makes the hull too large.
    """
    largest = max(parts, key=lambda one: _area(one.box))
    if len(parts) == 1:
        return largest
    angle = largest.box.angle_deg
    outer: list[float] = []
    mean: list[float] = []
    boxes = [around(corners(one.box), angle_deg=angle) for one in parts]
    placed = [sides(box, angle_deg=angle) for box in boxes]
    shown = [views.shows(box, one.tile) for box, one in zip(boxes, parts, strict=True)]
    for side, outermost in enumerate((min, min, max, max)):
        edge = outermost(each[side] for each in placed)
        trusted = [
            each[side]
            for each, visible in zip(placed, shown, strict=True)
            if visible[side] and abs(each[side] - edge) <= views.tolerance
        ]
        outer.append(edge)
        mean.append(sum(trusted) / len(trusted) if trusted else edge)
    u0, v0, u1, v1 = mean if mean[0] < mean[2] and mean[1] < mean[3] else outer
    return Detection(
        box=turned(u0, v0, u1, v1, angle_deg=angle),
        label=largest.label,
        tile=largest.tile,
        cut=True,
        parts=sum(one.parts for one in parts),
    )


def _uncovered(
    joined: Sequence[Detection], whole: Sequence[Detection], *, tolerance: float, min_iou: float
) -> list[Detection]:
    """Return the joined objects that no larger object covers.

    A window may show a sliver of an object's edge that is too thin to agree with any detection.
    """
    if not joined:
        return []
    import numpy as np
    import shapely

    both = [*joined, *whole]
    shapes = shapely.polygons([corners(one.box) for one in both])
    area = shapely.area(shapes)
    wide = shapely.buffer(shapes, tolerance, join_style="mitre")
    small, large = shapely.STRtree(wide).query(shapes[: len(joined)], predicate="intersects")
    names = np.array([one.label for one in both], dtype=object)
    chosen = (area[large] > area[small]) & (names[large] == names[small])
    small, large = small[chosen], large[chosen]
    common = shapely.area(shapely.intersection(shapes[small], wide[large]))
    covered = set(small[common >= min_iou * area[small]].tolist())
    return [one for i, one in enumerate(joined) if i not in covered]


def _area(box: Box) -> float:
    return (box.x1 - box.x0) * (box.y1 - box.y0)
