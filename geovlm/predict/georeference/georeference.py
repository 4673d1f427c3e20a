"""Converts pixels of a scene to coordinates of its CRS and to longitude and latitude."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geovlm.errors import DataError
from geovlm.predict.georeference import antimeridian
from geovlm.predict.georeference.antimeridian import LonLat, Point

WGS84 = "EPSG:4326"
_BEYOND_POLE = 1.0  # degrees: half a pixel of a coarse global grid is not an error
_STEPS = 8  # points per side of a ring with long sides
_SAMPLES = 5  # points per axis of a scene that is checked


@dataclass(frozen=True, kw_only=True, slots=True)
class Georeference:
    """Place of a grid. Pixel coordinates are continuous: (0, 0) is the first pixel's corner."""

    crs: str
    """WKT or `EPSG:…`."""
    transform: tuple[float, ...]
    """a, b, c, d, e, f of x = a column + b row + c, y = d column + e row + f."""
    file: Path
    """File that declares it, for messages."""

    def source(self, points: Sequence[Point]) -> list[Point]:
        """Return points (column, row) as (x, y) of the grid's own CRS."""
        a, b, c, d, e, f = self.transform
        return [(a * x + b * y + c, d * x + e * y + f) for x, y in points]

    def pixels(self, points: Sequence[Point]) -> list[Point]:
        """Return points (x, y) of the grid's own CRS as (column, row); the inverse of `source`."""
        from rasterio import Affine

        a, b, c, d, e, f = tuple(~Affine(*self.transform))[:6]
        return [(a * x + b * y + c, d * x + e * y + f) for x, y in points]

    def lonlat(self, ring: Sequence[Point]) -> list[LonLat]:
        """Return a ring of pixels (column, row) as longitude and latitude.

        If the ring crosses the antimeridian, longitudes continue over 180 or below -180. A ring
        around a pole is closed through the pole. `antimeridian.cut` brings both back to -180..180.

        Raises:
            DataError: A point lies where the CRS is not defined, or beyond a pole.
        """
        middle = sum(x for x, _ in ring) / len(ring), sum(y for _, y in ring) / len(ring)
        *found, (centre, _) = self._placed([*ring, middle])
        across = [lon for lon, _ in found]
        if self._is_geographic:  # its own longitudes do not jump
            own = [x for x, _ in self.source(ring)]
            turns = [round((x - lon) / 360) for x, lon in zip(own, across, strict=True)]
            return [LonLat(lon + 360 * n, lat) for n, (lon, lat) in zip(turns, found, strict=True)]
        if max(across) - min(across) < 180 and min(across) <= centre <= max(across):
            return found
        dense = self._placed(_denser(ring))
        followed = antimeridian.follow(dense)
        return followed[::_STEPS] if len(followed) == len(dense) else followed

    def check(self, width: int, height: int) -> None:
        """Check that a part of the scene lies where its CRS is defined.

        Some points are converted to longitude and latitude and back, because projections give a
        number even far outside. One point that comes back is enough: the corners of a picture of
        the whole earth show space.

        Raises:
            DataError: No point comes back; names file and CRS.
        """
        shares = [(i + 0.5) / _SAMPLES for i in range(_SAMPLES)]
        if not any(self._returns((x * width, y * height)) for y in shares for x in shares):
            raise self._outside()

    def _returns(self, point: Point) -> bool:
        try:
            placed = self._placed([point])
            ((x, y),) = self.source([point])
            ((back_x, back_y),) = reprojected(placed, WGS84, self.crs) or [(math.inf, math.inf)]
        except DataError:
            return False
        a, b, _, d, e, _ = self.transform
        near = math.hypot(back_x - x, back_y - y) <= max(map(abs, (a, b, d, e)))
        return near or self._is_geographic  # its longitudes may come back 360 degrees away

    def _placed(self, points: Sequence[Point]) -> list[LonLat]:
        found = reprojected(self.source(points), self.crs, WGS84)
        if found is None or any(abs(lat) > 90 + _BEYOND_POLE for _, lat in found):
            raise self._outside()
        return [LonLat(*point) for point in found]

    @property
    def _is_geographic(self) -> bool:
        from rasterio.crs import CRS

        return bool(CRS.from_user_input(self.crs).is_geographic)

    def _outside(self) -> DataError:
        return DataError(
            f"{self.file} has pixels outside of the area of its CRS, {name_of(self.crs)}: they "
            "have no longitude and latitude",
            hint="check its CRS and its transform with gdalinfo",
        )


def name_of(crs: str) -> str:
    """Return `EPSG:…`, or else the name that a CRS has in WKT."""
    from rasterio.crs import CRS

    known = CRS.from_user_input(crs)
    code = known.to_epsg()
    if code is not None:
        return f"EPSG:{code}"
    quoted = known.to_wkt().split('"')
    return quoted[1] if len(quoted) > 1 else crs


def reprojected(points: Sequence[Point], crs: str, to: str) -> list[Point] | None:
    """Return points (x, y) in another CRS; `None` if one of them has no coordinates there."""
    from rasterio._err import CPLE_BaseError  # GDAL's errors have no public name
    from rasterio.warp import transform

    try:
        xs, ys = transform(crs, to, [x for x, _ in points], [y for _, y in points])
    except CPLE_BaseError:
        return None
    if not all(map(math.isfinite, [*xs, *ys])):
        return None
    return list(zip(xs, ys, strict=True))


def _denser(ring: Sequence[Point]) -> list[Point]:
    """Return the ring with evenly spread points between its corners."""
    return [
        (x + (u - x) * step / _STEPS, y + (v - y) * step / _STEPS)
        for (x, y), (u, v) in zip(ring, [*ring[1:], ring[0]], strict=True)
        for step in range(_STEPS)
    ]
