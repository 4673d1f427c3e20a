"""A second look at objects that no window of the grid shows whole: where the windows lie."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from geovlm.boxes.rectangle import enclosing
from geovlm.predict.windows.detections import Detection, Views
from geovlm.predict.windows.tiles import Window, centred

SHIFTS = ((0.12, 0.25), (-0.25, 0.12), (0.25, -0.12), (-0.12, -0.25))
"""Of the windows about an end of an object from that end, as shares of the window's side."""
_FEWEST = 100  # second looks that a small scene may take beyond as many as it has windows


def second(objects: Iterable[Detection], views: Views, *, side: int) -> list[Window]:
    """The windows of a second look, each once, none that was looked at already.

    An object that fits into a window gets one with the object in its middle. Of a longer one, each
    end (of one that is too large both ways, each corner) gets several about it: each of them says
    where the end is in rounded numbers, cut elsewhere, so that the mean of all is nearer than one.
    At most as many as there were windows, or 100.

    Args:
        objects: merged; those that are whole are left out.
        views: what was looked at.
        side: of the windows, pixels; 0: none is looked at twice.
    """
    if not side:
        return []
    most = max(_FEWEST, len(views.windows))
    cut = [one for one in objects if one.cut]
    if not cut:
        return []
    seen = set(views.windows)
    found: list[Window] = []
    for one in cut:
        for window in _about(one, views, side=side):
            if len(found) == most:
                return found
            if window not in seen:
                seen.add(window)
                found.append(window)
    return found


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
