"""Cuts polygons that cross 180 degrees of longitude or enclose a pole, by RFC 7946, 3.1.9."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

Point: TypeAlias = tuple[float, float]
"""`(x, y)`: column and row, or easting and northing. Always x first, whatever the CRS declares."""
_ROUNDING = 1e-6  # degrees: rounding puts the edge of a global grid beyond 180


class LonLat(NamedTuple):
    """Longitude and latitude of WGS 84, degrees; a `Point` with the longitude as x."""

    lon: float
    lat: float


def follow(ring: Sequence[LonLat]) -> list[LonLat]:
    """Return a ring whose longitudes continue over 180 degrees instead of jumping to -180.

    A step of over 180 degrees counts as a jump. A ring around a pole is closed through the pole,
    along the meridian of its first point. A long side needs points between its corners.
    """
    followed = [ring[0]]
    for lon, lat in [*ring[1:], ring[0]]:
        before = followed[-1][0]
        followed.append(LonLat(lon - 360 * round((lon - before) / 360), lat))
    (first, _), (last, end_lat) = followed[0], followed[-1]
    if abs(last - first) < 180:
        return followed[:-1]
    pole = 90.0 if sum(lat for _, lat in ring) > 0 else -90.0
    closing = LonLat(last, end_lat), LonLat(last, pole), LonLat(first, pole)
    return [*followed[:-1], *closing]


def cut(ring: Sequence[LonLat]) -> list[list[LonLat]]:
    """Cut a ring of `follow` at the antimeridian: one ring or two, the western part first.

    Longitudes of the parts are in -180..180.
    """
    turns = (min(lon for lon, _ in ring) + 180 + _ROUNDING) // 360
    moved = [(lon - 360 * turns, lat) for lon, lat in ring]
    if max(lon for lon, _ in moved) <= 180 + _ROUNDING:
        return [[LonLat(min(lon, 180.0), lat) for lon, lat in moved]]
    import shapely
    from shapely import affinity

    whole = shapely.make_valid(shapely.Polygon(moved))
    parts = [
        affinity.translate(
            whole.intersection(shapely.box(west, -90, west + 360, 90)), xoff=-180 - west
        )
        for west in (-180, 180)
    ]
    found = shapely.get_parts(shapely.union_all(parts))  # parts of a ring around a pole touch
    areas = sorted((each for each in found if each.area), key=lambda each: -each.bounds[0])
    return [[LonLat(*point) for point in each.exterior.coords[:-1]] for each in areas]


def union(box: Sequence[float], other: Sequence[float]) -> list[float]:
    """Return the narrowest bounding box of two boxes: west, south, east, north, degrees.

    West is larger than east in a box that crosses the antimeridian.
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
