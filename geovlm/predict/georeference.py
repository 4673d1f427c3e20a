"""Pixels of a scene -> coordinates of a map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from geovlm.errors import DataError

WGS84 = "EPSG:4326"
_BEYOND_POLE = 1.0  # degrees: half a pixel of a coarse global grid is no mistake
_ROUNDING = 1e-6  # degrees: the edge of a global grid is west of -180 by rounding
Point: TypeAlias = tuple[float, float]
Affine: TypeAlias = tuple[float, float, float, float, float, float]
"""`a, b, c, d, e, f`: x = a column + b row + c, y = d column + e row + f."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Georeference:
    """Where a grid lies. Pixel coordinates are continuous: (0, 0) is the first pixel's corner."""

    crs: str
    """As WKT or `EPSG:…`."""
    transform: Affine

    def source(self, points: Sequence[Point]) -> list[Point]:
        """Points in the grid's own CRS."""
        a, b, c, d, e, f = self.transform
        return [(a * x + b * y + c, d * x + e * y + f) for x, y in points]

    def lonlat(self, points: Sequence[Point]) -> list[Point]:
        """Points as longitude and latitude of WGS 84, degrees.

        The westernmost is in -180..180, also of a grid from 0 to 360; others may lie beyond 180.

        Raises:
            DataError: a point lies where the CRS is not defined, or beyond a pole.
        """
        from rasterio.warp import transform

        placed = self.source(points)
        lon, lat = transform(self.crs, WGS84, [x for x, _ in placed], [y for _, y in placed])
        if not all(map(math.isfinite, [*lon, *lat])) or max(map(abs, lat)) > 90 + _BEYOND_POLE:
            raise DataError(
                "a pixel of the scene has no longitude and latitude",
                hint="is the CRS of the image right? see gdalinfo",
            )
        turns = math.floor((min(lon) + 180 + _ROUNDING) / 360)
        return [(x - 360 * turns, y) for x, y in zip(lon, lat, strict=True)]
