"""Puts files whose pixels lie elsewhere on one grid: compares places, and resamples by GDAL."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.sax.saxutils import escape

from geovlm.api import Size
from geovlm.errors import DataError
from geovlm.raster.faults import reported
from geovlm.raster.places.operations import Point, choose, parsed
from geovlm.raster.places.reading import Place, read

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

_NO_TRANSFORM = [0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
_NEAR_PX = 0.5
"""Corners that are nearer than this to those of a grid, in the smaller pixels, are the same."""
_PER_SIDE = 21  # points of a grid that are looked up in another
_TARGET = "</TargetSRS>"


class Opened(NamedTuple):
    """An open file and its path."""

    path: Path
    source: DatasetReader


class Moved(NamedTuple):
    """A file on the grid of another."""

    source: DatasetReader
    """float32, NaN outside of the file and where it has no data."""
    share: float
    """Share of the grid's ground that the file covers, 0..1."""


def moved(own: Opened, target: Opened, *, nodata: float | None, stack: ExitStack) -> Moved | None:
    """Return a file on the grid of another, resampled (bilinear) by the georeference of both.

    `None` if it covers the same ground, so that its pixels need no georeference. `nodata` is the
    value without data; `None`: that of the file. `stack` closes what is opened.

    Raises:
        DataError: The files do not show the same place; names both extents.
    """
    from rasterio.io import MemoryFile

    if _have_same_extent(own.source, target.source):
        return None
    place, grid = (read(each.source, each.path).place for each in (own, target))
    sizes = [(each.source.width, each.source.height) for each in (own, target)]
    paths = own.path, target.path
    if covers_same_ground(place, sizes[0], grid, sizes[1], paths=paths):
        return None
    assert place is not None and grid is not None
    with reported(own.path):
        options = {"dtype": "float32", "nodata": math.nan, "src_nodata": nodata}
        text = resampled(own.source, place, grid, **options)
        made = stack.enter_context(MemoryFile(text.encode(), ext=".vrt"))
        return Moved(stack.enter_context(made.open()), covered(place, grid))


def _have_same_extent(source: DatasetReader, other: DatasetReader) -> bool:
    """Return True if two open files have exactly one extent and one CRS, by their headers alone.

    This takes 5 microseconds; `covers_same_ground` takes 200, and a band of a patch 2000.
    """
    one, two = source.get_transform(), other.get_transform()
    if [one[2], one[4], two[2], two[4]] != [0.0] * 4 or one == _NO_TRANSFORM:
        return False
    ends = (
        (one[0], two[0]),
        (one[3], two[3]),
        (one[1] * source.width, two[1] * other.width),
        (one[5] * source.height, two[5] * other.height),
    )
    return all(a == b for a, b in ends) and bool(source.crs == other.crs)


def covers_same_ground(
    own: Place | None, own_size: Size, grid: Place | None, size: Size, *, paths: tuple[Path, Path]
) -> bool:
    """Return True if a file covers the ground of a grid, so that its pixels need no georeference.

    Two places do if their corners agree to less than half a pixel of the finer one, in one CRS (one
    that is missing counts as the other's). Without two places, files do if their sizes are in
    ratio. `paths` are those of the file and of the grid.

    Raises:
        DataError: One has no place and the sizes are not in ratio; or the places do not overlap.
            Names both sizes or both extents.
    """
    if own is None or grid is None:
        across, down = size[0] / own_size[0], size[1] / own_size[1]
        coarser = max(1.0, across, down)  # a file may end within a pixel of the coarser one
        if abs(across - down) * max(own_size) <= coarser:
            return True
        raise DataError(
            f"{paths[0]} is {own_size[0]} x {own_size[1]} px and {paths[1]} {size[0]} x {size[1]} "
            "px, and not both are georeferenced: they cannot show the same ground",
            hint="give bands of one extent, or GeoTIFFs with a transform and a CRS",
        )
    if _same_crs(own, grid):
        corners = _corners(size)
        seen = _pixels(own, _ground(grid, corners))
        finer = max(1.0, size[0] / own_size[0], size[1] / own_size[1])
        expected = _corners(own_size)
        if all(
            finer * math.dist(one, other) < _NEAR_PX
            for one, other in zip(seen, expected, strict=True)
        ):
            return True
    if not covered(own, grid):
        raise DataError(
            f"{paths[0]} and {paths[1]} do not overlap: {_extent(own)}, and {_extent(grid)}",
            hint="bands of one image must show the same place: check them with gdalinfo",
        )
    return False


def covered(own: Place, grid: Place) -> float:
    """Return the share of a grid's ground that a file covers, 0..1, from 441 points."""
    shares = [(i + 0.5) / _PER_SIDE for i in range(_PER_SIDE)]
    points = [(x * grid.size[0], y * grid.size[1]) for y in shares for x in shares]
    ground = _ground(grid, points)
    if not _same_crs(own, grid):
        moved = [_moved([point], grid, own) for point in ground]
        ground = [point for some in moved for point in some]
    seen = _pixels(own, ground)
    width, height = own.size
    return sum(0 <= x <= width and 0 <= y <= height for x, y in seen) / len(points)


def resampled(source: DatasetReader, own: Place, grid: Place, **options: Any) -> str:
    """Return a VRT, as XML, that resamples an open file to a grid (bilinear) when it is read.

    Between two CRS, GDAL uses the operation of `operations.choose`. `options` are those of
    `rasterio.vrt.WarpedVRT`.
    """
    import rasterio.shutil
    from rasterio import Affine
    from rasterio.enums import Resampling
    from rasterio.io import MemoryFile
    from rasterio.vrt import WarpedVRT

    crs = grid.crs or own.crs
    arguments: dict[str, Any] = {
        "crs": crs,
        "transform": Affine(*grid.transform),
        "width": grid.size[0],
        "height": grid.size[1],
        "resampling": Resampling.bilinear,
        "src_crs": own.crs or crs,
        "src_transform": Affine(*own.transform),
        **options,
    }
    with WarpedVRT(source, **arguments) as warped, MemoryFile(ext=".vrt") as made:
        rasterio.shutil.copy(warped, made.name, driver="VRT")
        text = bytes(made.read()).decode("utf-8")
    if _same_crs(own, grid):
        return text
    assert own.crs is not None and grid.crs is not None
    chosen = choose(own.crs, grid.crs, tuple(_ground(own, _corners(own.size))))
    if not chosen.pipeline:
        return text
    option = f'<Option key="COORDINATE_OPERATION">{escape(chosen.pipeline)}</Option>'
    return text.replace(_TARGET, f"{_TARGET}<Options>{option}</Options>")


def _same_crs(own: Place, grid: Place) -> bool:
    if own.crs is None or grid.crs is None or own.crs == grid.crs:
        return True
    return bool(parsed(own.crs) == parsed(grid.crs))


def _moved(points: Sequence[Point], place: Place, to: Place) -> list[Point]:
    """Return points (x, y) of one place's CRS in that of another; none if they have no place."""
    assert place.crs is not None and to.crs is not None
    around = tuple(_ground(place, _corners(place.size)))
    return choose(place.crs, to.crs, around).points(points) or []


def _corners(size: Size) -> list[Point]:
    width, height = map(float, size)
    return [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)]


def _ground(place: Place, points: Sequence[Point]) -> list[Point]:
    """Return pixels (column, row) as (x, y) of the place's CRS."""
    a, b, c, d, e, f = place.transform
    return [(a * x + b * y + c, d * x + e * y + f) for x, y in points]


def _pixels(place: Place, points: Sequence[Point]) -> list[Point]:
    """Return points (x, y) of the place's CRS as (column, row)."""
    a, b, c, d, e, f = place.transform
    area = a * e - b * d
    return [
        ((e * (x - c) - b * (y - f)) / area, (a * (y - f) - d * (x - c)) / area) for x, y in points
    ]


def _extent(place: Place) -> str:
    xs, ys = zip(*_ground(place, _corners(place.size)), strict=True)
    name = parsed(place.crs).name if place.crs is not None else "no CRS"
    return f"x {min(xs):.10g} to {max(xs):.10g}, y {min(ys):.10g} to {max(ys):.10g} ({name})"
