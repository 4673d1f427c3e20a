"""Reads a vector layer over georeferenced scenes: boxes of its polygons in windows of each scene.

A record is a window of `tile` px, or a whole scene. The box of an object is that of its vertices in
the pixels of the scene. An object belongs to a window if at least `KEPT_SHARE` of its area lies
inside; its box is then that of the part inside. All windows of a scene are in one split, and so are
scenes of one ground.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geovlm.api import Raster
from geovlm.errors import DataError
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.georeferenced import scenes, vectors
from geovlm.plugins.annotations.georeferenced.layers import Layer
from geovlm.plugins.annotations.georeferenced.scenes import Placed, Scene
from geovlm.plugins.annotations.records import Labelled, Record, Skip
from geovlm.raster.places import operations
from geovlm.raster.places.tiling import starts

if TYPE_CHECKING:
    from shapely import Geometry

KEPT_SHARE = 0.5
"""Smallest share of an object's area inside a window with which it belongs to the window."""
_LEAST_PX = 0.01
"""Sides of boxes are rounded to this."""
_Window = tuple[int, int, int, int]


def read(source: Path, description: Description, skip: Skip) -> Iterator[Record]:
    """Yield a record per window, scene by scene, row by row.

    Of the windows of a scene that hold no object, at most as many are kept as hold one, and at
    least one, unless `empty_windows` is `all`; the hash of their ids chooses.

    Raises:
        DataError: the layer cannot be read, no scene has a georeference, or no object lies in one.
        ConfigError: the bands of a scene have to be chosen; or a package is missing.
    """
    import numpy as np

    layer = vectors.read(source, description, skip)
    found = scenes.find(source, description, skip)
    if not (layer.features and found):
        return
    used = np.zeros(max(layer.features) + 1, bool)
    waiting: list[Record] = []  # windows of scenes before the first one with an object
    for scene, ground in zip(found, scenes.grounds(found), strict=True):
        many = _inside(scenes.placed(layer, scene), scene)  # those of one scene at a time
        used[[each.feature for each in many]] = True
        for record in _of_scene(scene, many, layer, description, skip):
            waiting.append(record._replace(group=ground.name, scene=str(ground.path.absolute())))
        if used.any():
            yield from waiting
            waiting.clear()
    if not used.any():
        raise DataError(
            _apart(layer, found),
            hint="look at both in QGIS; coordinates are x, then y: longitude, then latitude",
        )
    for feature in np.unique(layer.features):
        if not used[feature]:
            skip("feature outside of every scene", layer.where(feature))


def _inside(found: Sequence[Placed], scene: Scene) -> list[Placed]:
    """Return the objects of which a part lies in the scene."""
    whole = (0, 0, *scene.place.size)
    return [each for each in found if _part(each.shape, whole).area > 0]


def _of_scene(
    scene: Scene, objects: Sequence[Placed], layer: Layer, description: Description, skip: Skip
) -> Iterator[Record]:
    """Yield the records of a scene."""
    import shapely

    tree = shapely.STRtree([each.shape for each in objects])
    windows = _windows(scene, description)
    whole = len(windows) == 1
    records = []
    for window, image in zip(windows, _images(scene, windows), strict=True):
        column, row, width, height = window
        area = shapely.box(column, row, column + width, row + height)
        near = [objects[index] for index in sorted(tree.query(area))]
        records.append(
            Record(
                id=scene.name if whole else f"{scene.name}@{column},{row}",
                images=(image,),
                where=str(scene.path) if whole else f"{scene.path} at {column},{row}",
                group=scene.name,
                boxes=tuple(_boxes(near, window, scene, layer, skip)),
                extra={"scene": scene.name},
            )
        )
    kept = _kept(records, scene, description, skip)
    yield from (record for record in records if record.boxes or record.id in kept)


def _windows(scene: Scene, description: Description) -> list[_Window]:
    width, height = scene.place.size
    wide, high = min(description.tile or width, width), min(description.tile or height, height)
    columns, rows = (
        starts(length, side=side, overlap=min(description.overlap, side - 1))
        for length, side in ((width, wide), (height, high))
    )
    return [(column, row, wide, high) for row in rows for column in columns]


def _images(scene: Scene, windows: Sequence[_Window]) -> list[Path | Raster]:
    """Return the windows of a scene as images; the only one is the scene itself."""
    from geovlm.raster.appearance import as_raster

    if len(windows) == 1:
        return [scene.image]
    whole = scene.image if isinstance(scene.image, Raster) else as_raster(scene.image)
    return [dataclasses.replace(whole, window=window) for window in windows]


def _boxes(
    near: Sequence[Placed], window: _Window, scene: Scene, layer: Layer, skip: Skip
) -> Iterator[Labelled]:
    """Yield the boxes of a window in its pixels, in the order of the layer."""
    column, row, *_ = window
    for each in near:
        part = _part(each.shape, window)
        where = f"{layer.where(each.feature)} at {column},{row} of {scene.name}"
        if not part.area:
            continue
        if part.area < KEPT_SHARE * each.shape.area:
            skip("object of which less than half lies in a window", where)
            continue
        x0, y0, x1, y1 = part.bounds
        if min(x1 - x0, y1 - y0) < _LEAST_PX:
            skip(f"object thinner than {_LEAST_PX} px", where)
            continue
        yield Labelled((x0 - column, y0 - row, x1 - column, y1 - row), each.label)


def _part(shape: Geometry, window: _Window) -> Geometry:
    """Return the part of a shape that lies in a window."""
    import shapely

    x0, y0, x1, y1 = shape.bounds
    column, row, width, height = window
    if column <= x0 and row <= y0 and x1 <= column + width and y1 <= row + height:
        return shape
    return shape.intersection(shapely.box(column, row, column + width, row + height))


def _kept(
    records: Sequence[Record], scene: Scene, description: Description, skip: Skip
) -> frozenset[str]:
    """Return the ids of the windows without objects that are kept."""
    from geovlm.raster.images import has_data, image_size

    empty = sorted((r.id for r in records if not r.boxes), key=_shuffled)
    most = len(empty) if description.empty_windows == "all" else max(1, len(records) - len(empty))
    images = {record.id: record.images[0] for record in records}
    kept: list[str] = []
    for name in empty:
        image = images[name]
        if len(kept) == most:
            skip("window without objects, beyond as many as have some", name)
        elif scene.has_nodata and not has_data(image, (0, 0, *image_size(image))):
            skip("window without data", name)
        else:
            kept.append(name)
    return frozenset(kept)


def _shuffled(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def _apart(layer: Layer, found: Sequence[Scene]) -> str:
    """Return a line that names the extents of a layer and of the first scene."""
    west, south = layer.bounds[:, :2].min(axis=0)
    east, north = layer.bounds[:, 2:].max(axis=0)
    scene = scenes.extent(found[0], layer.crs)
    return (
        f"no feature lies in a scene: the layer covers x {west:.8g} to {east:.8g}, y {south:.8g} "
        f"to {north:.8g} in {operations.name_of(layer.crs)}, and {found[0].path} {scene}"
    )
