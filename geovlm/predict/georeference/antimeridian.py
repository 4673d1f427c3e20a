"""Polygons that reach over 180 degrees of longitude or a pole, cut as RFC 7946, 3.1.9 asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Point: TypeAlias = tuple[float, float]
_ROUNDING = 1e-6  # degrees: the edge of a global grid is beyond 180 by rounding


def follow(ring: Sequence[Point]) -> list[Point]:
    """A ring whose longitudes run on over 180 degrees instead of leaping to -180.

    Steps of over 180 degrees are taken as leaps. A ring around a pole is closed by way of it, along
    the meridian of its first point.

    Args:
        ring: degrees; a ring that goes far needs points between its corners.
    """
    followed = [ring[0]]
    for lon, lat in [*ring[1:], ring[0]]:
        before = followed[-1][0]
        followed.append((lon - 360 * round((lon - before) / 360), lat))
    (first, _), (last, end_lat) = followed[0], followed[-1]
    if abs(last - first) < 180:
        return followed[:-1]
    pole = 90.0 if sum(lat for _, lat in ring) > 0 else -90.0
    return [*followed[:-1], (last, end_lat), (last, pole), (first, pole)]


def cut(ring: Sequence[Point]) -> list[list[Point]]:
    """The rings of a polygon's parts in -180..180: that west of the antimeridian, that east of it.

    Args:
        ring: as of `follow`.
    """
    turns = (min(lon for lon, _ in ring) + 180 + _ROUNDING) // 360
    moved = [(lon - 360 * turns, lat) for lon, lat in ring]
    if max(lon for lon, _ in moved) <= 180 + _ROUNDING:
        return [[(min(lon, 180.0), lat) for lon, lat in moved]]
    import shapely
    from shapely import affinity

    whole = shapely.make_valid(shapely.Polygon(moved))
    parts = [
        affinity.translate(
            whole.intersection(shapely.box(west, -90, west + 360, 90)), xoff=-180 - west
        )
        for west in (-180, 180)
    ]
    found = shapely.get_parts(shapely.union_all(parts))  # of a ring around a pole, parts touch
    areas = sorted((each for each in found if each.area), key=lambda each: -each.bounds[0])
    return [list(each.exterior.coords[:-1]) for each in areas]


def union(box: Sequence[float], other: Sequence[float]) -> list[float]:
    """The bounding box of two, of which one or both have west larger than east; the narrower one.

    Args:
        box: west, south, east, north.
        other: the same of the other.
    """
    (w, s, e, n), (west, south, east, north) = box, other
    e, east = e + 360 * (e < w), east + 360 * (east < west)
    turn = min((0, 360, -360), key=lambda t: max(e, east + t) - min(w, west + t))
    low, high = min(w, west + turn), max(e, east + turn)
    if high - low >= 360:
        low, high = -180.0, 180.0
    low, high = (low - 360, high - 360) if low >= 180 else (low, high)
    low, high = (low + 360, high + 360) if low < -180 else (low, high)
    return [low, min(s, south), high - 360 * (high > 180), max(n, north)]
