"""Reads the georeference of an image from its transform or its ground control points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geovlm.api import Raster
from geovlm.predict.georeference.georeference import Georeference
from geovlm.predict.images import first_file

if TYPE_CHECKING:
    from rasterio.control import GroundControlPoint
    from rasterio.io import DatasetReader

GCP_PX = 0.5
"""Largest distance of a ground control point from the grid that is fitted to all, pixels."""
_FEWEST_GCPS = 4  # any three fit a grid exactly


def placed(image: Path | Raster) -> tuple[Georeference | None, str]:
    """Return the georeference of an image, and a note for the user.

    Ground control points are used if a grid of equal pixels fits all of them to `GCP_PX`. A scene
    that they bend, and one that has only a sensor's model (RPC), must be rectified first.

    Raises:
        DataError: The file is not a raster; the whole scene lies where its CRS is not defined.
        ConfigError: PROJ cannot use its database.
    """
    from geovlm.raster.faults import require_proj
    from geovlm.raster.files import opened
    from geovlm.raster.pictures import only_pillow_reads

    path = first_file(image)
    if not isinstance(image, Raster) and only_pillow_reads(path):
        return None, f"{path} is not georeferenced"
    with opened(path) as source:
        if source.gcps[0] or not source.transform.is_identity:
            require_proj()
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
            if source.rpcs is None:
                return None, f"{path} is not georeferenced"
            return None, (
                f"{path} has only a sensor's model (RPC), which needs heights, so it counts as "
                "without georeference; rectify it with gdalwarp -rpc -to RPC_DEM=… first"
            )
        fitted, note = _fitted(points, path)
        if fitted is None:
            return None, note
        crs, transform = crs or own, fitted
    if not crs:
        return None, (
            f"{path} has a transform but no CRS, so it counts as without georeference; write the "
            "CRS into the file with gdal_edit.py -a_srs EPSG:… (or rio edit-info --crs)"
        )
    if not (crs.is_geographic or crs.is_projected):
        return None, f"{path} has a local CRS, so it counts as without georeference"
    return Georeference(crs=crs.to_wkt(), transform=tuple(map(float, transform)), file=path), note


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
