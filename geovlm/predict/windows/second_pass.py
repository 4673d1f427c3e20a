"""Lays windows around objects that no window of the grid shows whole, for a second pass."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from geovlm.boxes import enclosing
from geovlm.predict.windows.detections import Detection, Views
from geovlm.predict.windows.tiles import Window, centred

SHIFTS = ((0.12, 0.25), (-0.25, 0.12), (0.25, -0.12), (-0.12, -0.25))
"""Offsets of the windows around an end of an object from that end, shares of the side."""
_FEWEST = 100  # windows that even a small scene may have in the second pass


def windows(objects: Iterable[Detection], views: Views, *, side: int) -> list[Window]:
    """Return the windows of the second pass, each once, without those of the first.

    An object that fits into a window gets one with the object in its middle. Each end of a longer
    object gets several (each corner, if it is too large both ways): the answers about them are
    rounded numbers and the windows cut at different places, so that their mean is more accurate
    than one answer. At most as many windows as the first pass has, or 100 if that is more. `side`
    is in pixels; 0: no second pass.
    """
    cut = [one for one in objects if one.cut]
    if not side or not cut:
        return []
    first = set(views.windows)
    found = dict.fromkeys(window for one in cut for window in _about(one, views, side=side))
    return [window for window in found if window not in first][: max(_FEWEST, len(views.windows))]


def _about(one: Detection, views: Views, *, side: int) -> Iterator[Window]:
    hull, area = enclosing(one.box), views.area
    x, y = (hull.x0 + hull.x1) / 2, (hull.y0 + hull.y1) / 2
    room = side - 4 * views.tolerance
    if max(hull.x1 - hull.x0, hull.y1 - hull.y0) < room:
        yield centred(x, y, area, size=(side, side))
        return
    sin, cos = math.sin(math.radians(one.box.angle_deg)), math.cos(math.radians(one.box.angle_deg))
    half_w, half_h = (one.box.x1 - one.box.x0) / 2, (one.box.y1 - one.box.y0) / 2
    along = (-half_w, half_w) if 4 * half_w > side else (0.0,)
    across = (-half_h, half_h) if 4 * half_h > side else (0.0,)
    for u in along:
        for v in across:
            for right, down in SHIFTS:
                at = x + u * cos - v * sin + right * side, y + u * sin + v * cos + down * side
                yield centred(*at, area, size=(side, side))
