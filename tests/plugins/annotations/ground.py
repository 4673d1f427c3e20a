"""Small GeoTIFFs with planted rectangles, and the same rectangles as vector layers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.warp import transform_geom

UTM = "EPSG:32615"
NORTH_UP = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 4_100_000)
"""Half a metre per pixel, at 93 degrees west and 37 north."""
Box = tuple[float, float, float, float]


def scene(
    path: Path,
    planted: Iterable[Box] = (),
    *,
    size: tuple[int, int] = (200, 150),
    crs: str | None = UTM,
    transform: rasterio.Affine = NORTH_UP,
    dtype: str = "uint8",
    seed: int | None = None,
    **profile: Any,
) -> Path:
    """Write a dark scene with white rectangles at boxes of whole pixels, and return its path.

    The ground is of one grey, or with a seed of many.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    pixels = np.full((3, height, width), 60, dtype)
    if seed is not None:
        pixels[:] = np.random.default_rng(seed).integers(20, 120, (height, width))
    for x0, y0, x1, y1 in planted:
        pixels[:, int(y0) : int(y1), int(x0) : int(x1)] = 250
    shape = {"width": width, "height": height, "count": 3, "dtype": dtype}
    placing = {"crs": crs, "transform": transform}
    with rasterio.open(path, "w", driver="GTiff", **shape, **placing, **profile) as out:
        out.write(pixels)
    return path


def polygon(box: Box, *, transform: rasterio.Affine = NORTH_UP) -> dict[str, Any]:
    """Return a box of pixels as a polygon in the CRS of its scene."""
    x0, y0, x1, y1 = box
    a, b, c, d, e, f = transform[:6]
    ring = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
    placed = [[a * x + b * y + c, d * x + e * y + f] for x, y in ring]
    return {"type": "Polygon", "coordinates": [placed]}


def feature(geometry: Mapping[str, Any] | None, **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def moved(geometry: Mapping[str, Any], *, crs: str = "EPSG:4326", of: str = UTM) -> Any:
    """Return a geometry in another CRS."""
    return transform_geom(of, crs, geometry)


def geojson(path: Path, features: Sequence[Mapping[str, Any]], *, crs: str | None = None) -> Path:
    """Write a collection of features and return its path; `crs` as QGIS writes it."""
    member = {"crs": {"type": "name", "properties": {"name": crs}}} if crs else {}
    path.write_text(json.dumps({"type": "FeatureCollection", **member, "features": features}))
    return path


def found_in(picture: np.ndarray) -> list[int]:
    """Return x0, y0, x1, y1 of the white pixels of a picture, (H, W, 3), half-open."""
    rows, columns = np.nonzero(picture[..., 0] > 200)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
