"""Converts pixels of a scene to coordinates of its CRS and to longitude and latitude."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geovlm.api import Size
from geovlm.errors import DataError
from geovlm.predict.georeference import antimeridian
from geovlm.predict.georeference.antimeridian import LonLat, Point
from geovlm.raster.places.operations import WGS84, Operation, choose, name_of, parsed

_BEYOND_POLE = 1.0  # degrees: half a pixel of a coarse global grid is not an error
_STEPS = 8  # points per side of a ring with long sides
_METRES_PER_DEGREE = 111_195.0  # of a sphere with the earth's mean radius
_HALF_PX = 0.51  # half a pixel, give or take its shape on the ground
_WIDE_M = 2000.0  # half of such a pixel is more than datums differ by
_SMALLEST_M = 0.001  # no image of the ground is finer
_FINE_M = 0.1  # pixels of 0.1 degrees, taken for metres
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
    size: Size = (1, 1)
    """Width and height of the grid, pixels: the ground for which an operation is chosen."""

    @property
    def operation(self) -> Operation:
        """PROJ's operation to longitude and latitude; all of them are made by it.

        Raises:
            DataError: PROJ knows none.
        """
        return self.to(WGS84)

    def to(self, crs: str) -> Operation:
        """Return the operation from the grid's CRS to another, chosen for this grid."""
        width, height = self.size
        shares = [i / (_SAMPLES - 1) for i in range(_SAMPLES)]
        around = self.source([(x * width, y * height) for y in shares for x in shares])
        return choose(self.crs, crs, tuple(around))

    def pixel_m(self) -> float | None:
        """Return the shorter side of the pixel in the middle, metres; `None` if it has no place."""
        x, y = self.size[0] / 2, self.size[1] / 2
        placed = self.operation.points(self.source([(x, y), (x + 1, y), (x, y + 1)]))
        if placed is None:
            return None
        (lon, lat), *others = placed
        return min(
            _METRES_PER_DEGREE * math.hypot((u - lon) * math.cos(math.radians(lat)), v - lat)
            for u, v in others
        )

    def doubt(self) -> str:
        """Return why longitude and latitude may be off by over half a pixel; empty if they are not.

        The line names the operation, its accuracy and a better one, as far as PROJ knows them.
        """
        operation, pixel = self.operation, self.pixel_m()
        if pixel is None:
            return ""
        if pixel < _SMALLEST_M or (pixel < _FINE_M and self._looks_like_degrees):
            return (
                f"a pixel of {self.file} would be {pixel * 1000:.2g} mm wide by its transform in "
                f"{name_of(self.crs)}, near that CRS's origin: are its numbers degrees?"
            )
        accuracy = operation.accuracy_m
        if accuracy is not None and accuracy <= _HALF_PX * pixel:
            return ""
        if accuracy is None and pixel > _WIDE_M:
            return ""
        why = f" ({operation.doubt})" if operation.doubt else ""
        better = f"; {operation.missing}" if operation.missing else ""
        if accuracy is None:
            off = (
                "up to some hundred metres" if "datum out" in operation.doubt else "tens of metres"
            )
            return f"coordinates of {self.file} may be off by {off}: {operation.name}{why}{better}"
        return (
            f"coordinates of {self.file} are accurate to {accuracy:g} m, {accuracy / pixel:.1f} "
            f"px: {operation.name}{why}{better}"
        )

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
            ((back_x, back_y),) = self.operation.points(placed, back=True) or [(math.inf, math.inf)]
        except DataError:
            return False
        a, b, _, d, e, _ = self.transform
        near = math.hypot(back_x - x, back_y - y) <= max(map(abs, (a, b, d, e)))
        return near or self._is_geographic  # its longitudes may come back 360 degrees away

    def _placed(self, points: Sequence[Point]) -> list[LonLat]:
        found = self.operation.points(self.source(points))
        if found is None or any(abs(lat) > 90 + _BEYOND_POLE for _, lat in found):
            raise self._outside()
        return [LonLat(*point) for point in found]

    @property
    def _is_geographic(self) -> bool:
        return bool(parsed(self.crs).is_geographic)

    @property
    def _looks_like_degrees(self) -> bool:
        """True if a projected CRS has no number that a longitude or latitude cannot have."""
        width, height = self.size
        corners = self.source([(0, 0), (width, 0), (width, height), (0, height)])
        return not self._is_geographic and all(abs(x) <= 360 and abs(y) <= 90 for x, y in corners)

    def _outside(self) -> DataError:
        return DataError(
            f"{self.file} has pixels outside of the area of its CRS, {name_of(self.crs)}: they "
            "have no longitude and latitude",
            hint="check its CRS and its transform with gdalinfo",
        )


def _denser(ring: Sequence[Point]) -> list[Point]:
    """Return the ring with evenly spread points between its corners."""
    return [
        (x + (u - x) * step / _STEPS, y + (v - y) * step / _STEPS)
        for (x, y), (u, v) in zip(ring, [*ring[1:], ring[0]], strict=True)
        for step in range(_STEPS)
    ]
