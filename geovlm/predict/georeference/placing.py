"""Where an image says that it lies: by a transform, or by ground control points in a plane."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geovlm.api import Raster
from geovlm.predict.georeference.georeference import Affine, Georeference
from geovlm.predict.images import first_file

if TYPE_CHECKING:
    from rasterio.control import GroundControlPoint
    from rasterio.io import DatasetReader

GCP_PX = 0.5
"""Ground control points may lie so far from the grid that is fitted to them."""
_FEWEST_GCPS = 4  # there is a grid through any three


def placed(image: Path | Raster) -> tuple[Georeference | None, str]:
    """Where an image lies, and what a user should know of it.

    Ground control points are used where a grid of equal pixels fits all of them to `GCP_PX`: a
    scene that they bend, and one that has only a sensor's model (RPC), must be rectified first.

    Raises:
        DataError: the file is no raster; all of the scene lies where its CRS is not defined.
    """
    from geovlm.raster.files import opened

    path = first_file(image)
    with opened(path) as source:
        found, note = _read(source, path)
        if found is not None:
            found.check(source.width, source.height)
    return found, note


def _read(source: DatasetReader, path: Path) -> tuple[Georeference | None, str]:
    crs, transform = source.crs, tuple(source.transform)[:6]
    note = ""
    if source.transform.is_identity:
        points, own = source.gcps
        if not points:
            return None, _without(source, path)
        fitted, note = _fitted(points, path)
        if fitted is None:
            return None, note
        crs, transform = crs or own, fitted
    if not crs:
        return None, (
            f"{path} has a transform and no CRS, hence no place on the earth; write it into the "
            "file with gdal_edit.py -a_srs EPSG:… (or rio edit-info --crs)"
        )
    if not (crs.is_geographic or crs.is_projected):
        return None, f"{path} has a local CRS, hence no place on the earth"
    a, b, c, d, e, f = map(float, transform)
    return Georeference(crs=crs.to_wkt(), transform=(a, b, c, d, e, f), file=path), note


def _fitted(points: Sequence[GroundControlPoint], path: Path) -> tuple[Affine | None, str]:
    """The grid that lies next to ground control points, by least squares, and how near it is."""
    import numpy as np

    if len(points) < _FEWEST_GCPS:
        return None, (
            f"{path} has {len(points)} ground control points, and a place on the earth needs "
            f"{_FEWEST_GCPS}; it is taken to have none"
        )
    pixels = np.array([(point.col, point.row, 1.0) for point in points])
    middle = np.array([(point.x, point.y) for point in points]).mean(axis=0)
    ground = np.array([(point.x, point.y) for point in points]) - middle
    solved, _, rank, _ = np.linalg.lstsq(pixels, ground, rcond=None)
    if rank < 3 or abs(np.linalg.det(solved[:2])) == 0:
        return None, f"the ground control points of {path} lie in a line; it is taken to have none"
    off = (pixels @ solved - ground) @ np.linalg.inv(solved[:2])  # back in pixels
    furthest = float(np.linalg.norm(off, axis=1).max())
    if furthest > GCP_PX:
        return None, (
            f"{path} is placed by {len(points)} ground control points that lie up to "
            f"{furthest:.1f} px from any grid of equal pixels, hence is taken to have no place on "
            "the earth; rectify it first, with gdalwarp"
        )
    a, d = map(float, solved[0])
    b, e = map(float, solved[1])
    c, f = map(float, solved[2] + middle)
    return (a, b, c, d, e, f), (
        f"{path} is placed by {len(points)} ground control points, to {furthest:.2f} px"
    )


def _without(source: DatasetReader, path: Path) -> str:
    if source.rpcs is not None:
        return (
            f"{path} has a sensor's model (RPC) only, which gives no place without heights; "
            "rectify it first, with gdalwarp -rpc -to RPC_DEM=…"
        )
    return f"{path} is not georeferenced"
