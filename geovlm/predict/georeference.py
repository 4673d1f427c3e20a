"""Pixels of a scene -> coordinates of a map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from geovlm.errors import DataError

WGS84 = "EPSG:4326"
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

        Raises:
            DataError: a point lies where the CRS is not defined.
        """
        from rasterio.warp import transform

        placed = self.source(points)
        lon, lat = transform(self.crs, WGS84, [x for x, _ in placed], [y for _, y in placed])
        if not all(map(math.isfinite, [*lon, *lat])):
            raise DataError(
                "a pixel of the scene has no longitude and latitude",
                hint="is the CRS of the image right? see gdalinfo",
            )
        return list(zip(lon, lat, strict=True))
