"""Builds GeoJSON features by RFC 7946: closed rings, counterclockwise outside, a `bbox` each.

A feature that crosses the antimeridian is cut there, and its `bbox` has west larger than east.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from geovlm.api import Json
from geovlm.predict.georeference import antimeridian
from geovlm.predict.georeference.antimeridian import Point
from geovlm.predict.georeference.georeference import Georeference
from geovlm.predict.windows.tiles import Window

DEGREES_DIGITS = 9
"""Decimals of degrees, 0.1 mm on the ground, and of the units of a projected CRS."""
UNITS_DIGITS = 4
"""Decimals of pixels."""


def place(
    ring: Sequence[Point], where: Georeference | None, *, crs: str = "wgs84"
) -> dict[str, Any]:
    """Convert a ring of pixels to a GeoJSON geometry; several polygons if 180 degrees cut it.

    `crs` is `wgs84` (longitude, latitude) or `source` (x, y of the scene's CRS); without a
    georeference, coordinates stay pixels, y down.

    Raises:
        DataError: See `Georeference.lonlat`.
    """
    if where is None:
        return polygon(ring, digits=UNITS_DIGITS)
    if crs == "source":
        return polygon(where.source(ring), digits=DEGREES_DIGITS)
    parts = antimeridian.cut(where.lonlat(ring))
    made = [polygon(part, digits=DEGREES_DIGITS) for part in parts]
    if len(made) == 1:
        return made[0]
    return {"type": "MultiPolygon", "coordinates": [each["coordinates"] for each in made]}


def polygon(ring: Sequence[Point], *, digits: int) -> dict[str, Any]:
    """Return a polygon without holes from its corners, given clockwise or counterclockwise."""
    rounded = [[round(x, digits), round(y, digits)] for x, y in ring]
    if _doubled_area(ring) < 0:
        rounded.reverse()
    return {"type": "Polygon", "coordinates": [[*rounded, rounded[0]]]}


def feature(number: int, geometry: Mapping[str, Any], properties: Mapping[str, Json]) -> Any:
    """Return a feature with its bounding box."""
    return {
        "type": "Feature",
        "id": number,
        "bbox": bounds(geometry),
        "geometry": dict(geometry),
        "properties": dict(properties),
    }


def crosses(geometry: Mapping[str, Any]) -> bool:
    """Return True if a geometry was cut at the antimeridian."""
    return bool(geometry["type"] == "MultiPolygon")


def bounds(geometry: Mapping[str, Any]) -> list[float]:
    """Return the bounding box of a polygon or its parts: west, south, east, north."""
    if not crosses(geometry):
        return _hull(geometry["coordinates"][0])
    box, *others = (_hull(part[0]) for part in geometry["coordinates"])
    for other in others:
        box = antimeridian.union(box, other)
    return box


def union(box: Sequence[float] | None, other: Sequence[float]) -> list[float]:
    """Return the bounding box of two bounding boxes; `None` is empty."""
    if box is None:
        return list(other)
    if box[0] > box[2] or other[0] > other[2]:
        return antimeridian.union(box, other)
    low = [min(a, b) for a, b in zip(box[:2], other[:2], strict=True)]
    return low + [max(a, b) for a, b in zip(box[2:], other[2:], strict=True)]


def footprint(window: Window) -> list[Point]:
    """Return the corners (x, y) of a window, pixels of the scene."""
    right, bottom = window.x + window.width, window.y + window.height
    return [(window.x, window.y), (right, window.y), (right, bottom), (window.x, bottom)]


def _hull(ring: Sequence[Sequence[float]]) -> list[float]:
    across, up = [x for x, _ in ring], [y for _, y in ring]
    return [min(across), min(up), max(across), max(up)]


def _doubled_area(ring: Sequence[Point]) -> float:
    """Return twice the signed area: positive if the corners run counterclockwise, y up."""
    x0, y0 = ring[0]  # subtracted, because products of map coordinates (1e6 m) lose digits
    moved = [(x - x0, y - y0) for x, y in ring]
    following = [*moved[1:], moved[0]]
    return sum(x * v - u * y for (x, y), (u, v) in zip(moved, following, strict=True))
