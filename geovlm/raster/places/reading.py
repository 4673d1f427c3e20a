"""Reads the place of a file's pixels: its CRS, and its transform or ground control points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from geovlm.api import Size
from geovlm.raster.faults import require_proj

if TYPE_CHECKING:
    from rasterio.control import GroundControlPoint
    from rasterio.io import DatasetReader

GCP_PX = 0.5
"""Largest distance of a ground control point from the grid that is fitted to all, pixels."""
_FEWEST_GCPS = 4  # any three fit a grid exactly


class Place(NamedTuple):
    """Grid of a file's pixels."""

    crs: str | None
    """WKT; `None`: the file has a transform without a CRS."""
    transform: tuple[float, ...]
    """a, b, c, d, e, f of x = a column + b row + c, y = d column + e row + f; invertible."""
    size: Size
    """Width and height, pixels."""


class Reading(NamedTuple):
    """Place of a file, if it has one, and a note for the user."""

    place: Place | None
    note: str


def read(source: DatasetReader, path: Path) -> Reading:
    """Return the place of an open file.

    Ground control points are used if a grid of equal pixels fits all of them to `GCP_PX`. A scene
    that they bend, and one that has only a sensor's model (RPC), must be rectified first.

    Raises:
        ConfigError: PROJ cannot use its database.
    """
    crs, transform = source.crs, tuple(map(float, tuple(source.transform)[:6]))
    note = ""
    if source.transform.is_identity:
        points, own = source.gcps
        if not points:
            if source.rpcs is None:
                return Reading(None, f"{path} is not georeferenced")
            return Reading(
                None,
                f"{path} has only a sensor's model (RPC), which needs heights, so it counts as "
                "without georeference; rectify it with gdalwarp -rpc -to RPC_DEM=… first",
            )
        fitted, note = _fitted(points, path)
        if fitted is None:
            return Reading(None, note)
        crs, transform = crs or own, fitted
    a, b, _, d, e, _ = transform
    if not all(map(math.isfinite, transform)) or a * e - b * d == 0:
        return Reading(
            None,
            f"{path} has a transform that no map has, {transform}, so it counts as without "
            "georeference; write it into the file with gdal_edit.py -a_ullr",
        )
    require_proj()
    if not crs:
        return Reading(Place(None, transform, (source.width, source.height)), note)
    return Reading(Place(crs.to_wkt(), transform, (source.width, source.height)), note)


def _fitted(
    points: Sequence[GroundControlPoint], path: Path
) -> tuple[tuple[float, ...] | None, str]:
    """Fit a grid to ground control points by least squares; return it and a note on its error."""
    import numpy as np

    if len(points) < _FEWEST_GCPS:
        return None, (
            f"{path} has {len(points)} ground control points, but {_FEWEST_GCPS} are needed; it "
            "counts as without georeference"
        )
    pixels = np.array([(point.col, point.row, 1.0) for point in points])
    middle = np.array([(point.x, point.y) for point in points]).mean(axis=0)
    ground = np.array([(point.x, point.y) for point in points]) - middle
    solved, _, rank, _ = np.linalg.lstsq(pixels, ground, rcond=None)
    if rank < 3 or abs(np.linalg.det(solved[:2])) == 0:
        return None, (
            f"the ground control points of {path} lie on a line; it counts as without georeference"
        )
    off = (pixels @ solved - ground) @ np.linalg.inv(solved[:2])  # back in pixels
    furthest = float(np.linalg.norm(off, axis=1).max())
    if furthest > GCP_PX:
        return None, (
            f"{path} has {len(points)} ground control points that lie up to {furthest:.1f} px from "
            "any grid of equal pixels, so it counts as without georeference; rectify it with "
            "gdalwarp first"
        )
    (a, d), (b, e), (c, f) = solved[0], solved[1], solved[2] + middle
    return (a, b, c, d, e, f), (
        f"{path} is placed by {len(points)} ground control points, with an error of up to "
        f"{furthest:.2f} px"
    )
