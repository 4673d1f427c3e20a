"""Finds georeferenced scenes, and places the polygons of a vector layer in their pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from geovlm.api import Raster
from geovlm.errors import DataError
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.georeferenced.layers import Layer
from geovlm.plugins.annotations.places import identity, image_folder, images_in
from geovlm.plugins.annotations.records import Skip
from geovlm.raster.places import operations, reading

if TYPE_CHECKING:
    import numpy as np
    from shapely import Geometry

_PER_SIDE = 9
"""Points of a scene along each side that are looked up in the CRS of the layer."""
_SEAM = 180.0
_SNAP_PX = 1e-3
"""Grid, pixels, in which the parts of an object that is cut at 180 degrees are joined again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """A georeferenced image file."""

    name: str
    """Its path in the folder of images."""
    path: Path
    image: Path | Raster
    """The whole scene."""
    place: reading.Place
    has_nodata: bool
    """True if the file declares pixels without data."""


SAME_GROUND = 0.5
"""Share of the ground of the smaller of two scenes from which they count as one place."""


class Placed(NamedTuple):
    """An object in the pixels of a scene: x to the right, y down, (0, 0) the outer corner."""

    feature: int
    """Number of its feature in the layer."""
    label: str
    shape: Geometry


def find(source: Path, description: Description, skip: Skip) -> list[Scene]:
    """Return the scenes in the folder of images, or the one file that it names, sorted by path.

    Files that are no raster, and those without a CRS on the earth, are left out.

    Raises:
        ConfigError: a file has more bands than can be shown, and the description names none.
    """
    folder = image_folder(description, source)
    found = []
    for path in [folder] if folder.is_file() else images_in(folder):
        name = (
            path.name if path == folder else identity(path, description=description, source=source)
        )
        try:
            scene = _scene(path, name, description, skip)
        except DataError as error:
            skip("scene that cannot be read", str(error))
            continue
        found += [scene] if scene is not None else []
    return found


def _scene(path: Path, name: str, description: Description, skip: Skip) -> Scene | None:
    from geovlm.raster import images
    from geovlm.raster.files import opened
    from geovlm.raster.masks import declares_nodata

    with opened(path) as source:
        place, note = reading.read(source, path)
        has_nodata = any(declares_nodata(source, index) for index in source.indexes)
    if place is None or place.crs is None or not operations.is_on_earth(place.crs):
        skip("scene without georeference", note or f"{path} has no CRS on the earth")
        return None
    image = images.reference_of(path, bands=description.bands or None)
    return Scene(name=name, path=path, image=image, place=place, has_nodata=has_nodata)


def placed(layer: Layer, scene: Scene) -> list[Placed]:
    """Return the objects that may lie in a scene, in its pixels; vertices are transformed.

    Objects far outside are left out. Parts of a feature that meet at 180 degrees are one object.

    Raises:
        DataError: PROJ knows no way from the layer's CRS to the scene's.
    """
    import numpy as np
    import shapely

    assert scene.place.crs is not None
    points = _points(scene.place)
    way = operations.choose(scene.place.crs, layer.crs, tuple(points))
    near = _near(layer, way.points(points))
    geographic = bool(operations.parsed(scene.place.crs).is_geographic)
    centre = sum(x for x, _ in points) / len(points)
    a, b, c, d, e, f = scene.place.transform
    area = a * e - b * d

    def pixels(vertices: np.ndarray) -> np.ndarray:
        x, y = way.transformer.transform(vertices[:, 0], vertices[:, 1], direction="INVERSE")
        if geographic:  # longitudes of the scene may go on beyond 180
            x = x - 360 * np.round((x - centre) / 360)
        return np.stack([(e * (x - c) - b * (y - f)) / area, (a * (y - f) - d * (x - c)) / area], 1)

    shapes = shapely.transform(layer.shapes(near), pixels)
    finite = np.isfinite(shapely.bounds(shapes)).all(axis=1)
    broken = finite & ~shapely.is_valid(shapes)
    shapes[broken] = shapely.make_valid(shapes[broken])
    near = near[finite]
    found = [
        Placed(layer.features[index], layer.labels[index], shape)
        for index, shape in zip(near, shapes[finite], strict=True)
    ]
    is_geographic = operations.parsed(layer.crs).is_geographic
    return _joined(found, layer.bounds[near]) if is_geographic else found


def grounds(found: Sequence[Scene]) -> list[Scene]:
    """Return for each scene the first one that shows its ground.

    Two scenes show one ground if they share `SAME_GROUND` of the smaller one, as images before and
    after an event do; so do scenes that are linked by others.
    """
    import shapely

    outlines = [_outline(scene.place) for scene in found]
    first = list(range(len(found)))
    tree = shapely.STRtree(outlines)
    for number, outline in enumerate(outlines):
        for other in tree.query(outline):
            least = SAME_GROUND * min(outline.area, outlines[other].area)
            if other > number and outline.intersection(outlines[other]).area >= least:
                one, two = sorted((first[number], first[other]))
                first = [one if each == two else each for each in first]
    return [found[number] for number in first]


def _outline(place: reading.Place) -> Geometry:
    """Return the outline of a scene in longitude and latitude; empty if it has none."""
    import shapely

    assert place.crs is not None
    points = _points(place)
    there = operations.choose(place.crs, operations.WGS84, tuple(points)).points(points)
    if there is None:
        return shapely.Polygon()
    west = there[0][0]
    near = [(lon - 360 * round((lon - west) / 360), lat) for lon, lat in there]
    return shapely.MultiPoint(near).convex_hull


def extent(scene: Scene, crs: str) -> str:
    """Return the extent of a scene in a CRS, for a message."""
    assert scene.place.crs is not None
    points = _points(scene.place)
    there = operations.choose(scene.place.crs, crs, tuple(points)).points(points)
    if there is None:
        return "has no coordinates there"
    xs, ys = zip(*there, strict=True)
    return f"x {min(xs):.8g} to {max(xs):.8g}, y {min(ys):.8g} to {max(ys):.8g}"


def _points(place: reading.Place) -> list[operations.Point]:
    """Return points (x, y) of a scene's CRS, evenly spread over it."""
    shares = [i / (_PER_SIDE - 1) for i in range(_PER_SIDE)]
    a, b, c, d, e, f = place.transform
    width, height = place.size
    return [
        (a * u * width + b * v * height + c, d * u * width + e * v * height + f)
        for v in shares
        for u in shares
    ]


def _near(layer: Layer, points: Sequence[operations.Point] | None) -> np.ndarray:
    """Return the numbers of the polygons whose bounds meet those of points in the layer's CRS.

    All of them if the points have no coordinates there, or lie on both sides of 180 degrees.
    """
    import numpy as np

    bounds = layer.bounds
    everything = np.arange(len(bounds))
    if points is None:
        return everything
    xs, ys = zip(*points, strict=True)
    if operations.parsed(layer.crs).is_geographic and max(xs) - min(xs) >= _SEAM:
        return everything
    margin_x, margin_y = ((max(each) - min(each)) / (_PER_SIDE - 1) for each in (xs, ys))
    west, east = min(xs) - margin_x, max(xs) + margin_x
    south, north = min(ys) - margin_y, max(ys) + margin_y
    turns = (-360, 0, 360) if operations.parsed(layer.crs).is_geographic else (0,)
    inside = np.logical_or.reduce(
        [(bounds[:, 2] + t >= west) & (bounds[:, 0] + t <= east) for t in turns]
    )
    return everything[inside & (bounds[:, 3] >= south) & (bounds[:, 1] <= north)]


def _joined(found: Sequence[Placed], bounds: np.ndarray) -> list[Placed]:
    """Join the parts of each feature that meet at 180 degrees, as RFC 7946 has them cut.

    `bounds` are those of each object in degrees.
    """
    import shapely

    cut: dict[int, list[Placed]] = {}
    kept: list[Placed] = []
    for each, (west, _, east, _) in zip(found, bounds, strict=True):
        if math.isclose(max(-west, east), _SEAM, abs_tol=1e-9):
            cut.setdefault(each.feature, []).append(each)
        else:
            kept.append(each)
    for parts in cut.values():
        whole = shapely.union_all([part.shape for part in parts], grid_size=_SNAP_PX)
        kept += [parts[0]._replace(shape=shape) for shape in shapely.get_parts(whole)]
    return kept
