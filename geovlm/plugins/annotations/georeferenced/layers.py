"""Keeps the objects of a vector layer in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from geovlm.plugins.annotations.records import Skip

if TYPE_CHECKING:
    import numpy as np
    from shapely import Geometry

_FURTHEST = (360.0, 90.0)
"""Longitude and latitude that degrees do not exceed."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Layer:
    """The objects of a vector layer: parts of features, each a valid polygon.

    A self-intersecting polygon is the polygons that it becomes. Geometries are kept as WKB, one
    behind the other: a footprint of four corners takes about 200 bytes. x and y are those of the
    CRS.
    """

    source: Path
    crs: str
    """`EPSG:…`, a URN or WKT; coordinates are x, then y."""
    geometries: bytearray
    """WKB of all objects."""
    ends: Sequence[int]
    """Place in it where each object begins, and where the last one ends."""
    bounds: np.ndarray
    """Left, bottom, right and top of each object, (n, 4)."""
    features: Sequence[int]
    """Number of the feature of each object, from 0."""
    labels: Sequence[str]

    def shapes(self, numbers: np.ndarray) -> np.ndarray:
        """Return the geometries of some objects."""
        import shapely

        places = ((self.ends[number], self.ends[number + 1]) for number in numbers)
        return shapely.from_wkb([bytes(self.geometries[begin:end]) for begin, end in places])

    def where(self, feature: int) -> str:
        """Return the place of a feature, such as `roofs.geojson feature 17`."""
        return _where(self.source, feature)


class Polygons:
    """Collects the polygons of features, a part of the file at a time."""

    def __init__(self, source: Path, name: str, only: str, skip: Skip) -> None:
        self.corner: tuple[float, float] | None = None
        """A corner of the first feature."""
        self.has_degrees = False
        """True if a feature may be in degrees."""
        self._source, self._name, self._only, self._skip = source, name, only, skip
        self._count = 0
        self._geometries = bytearray()
        self._ends = array("Q", [0])
        self._bounds: list[np.ndarray] = []
        self._features = array("Q")
        self._labels: list[str] = []

    def add(self, shapes: np.ndarray, labels: Sequence[str]) -> None:
        """Add the geometries of the next features, or `None`, and the values of their field."""
        import numpy as np
        import shapely

        corners = shapely.bounds(shapes)[:, :2]
        corners = corners[np.isfinite(corners).all(axis=1)]
        if len(corners):
            self.corner = self.corner or (float(corners[0][0]), float(corners[0][1]))
            self.has_degrees |= bool((np.abs(corners) <= _FURTHEST).all(axis=1).any())
        shapes = shapely.force_2d(shapes)
        is_polygon = shapely.get_type_id(shapes) == shapely.GeometryType.POLYGON
        simple = is_polygon & shapely.is_valid(shapes) & (shapely.area(shapes) > 0)
        parts: list[Geometry] = []
        for number, own in enumerate(labels, start=self._count):
            label, shape = own if self._name else self._only, shapes[number - self._count]
            if not label:
                reason = f"feature without a value in {self._name!r}"
                self._skip(reason, _where(self._source, number))
                continue
            if simple[number - self._count]:
                several = [shape]
            else:
                several = list(_parts(shape, _where(self._source, number), self._skip))
            parts += several
            self._features.extend([number] * len(several))
            self._labels += [label] * len(several)
        self._count += len(labels)
        for outline in shapely.to_wkb(parts):
            self._geometries += outline
            self._ends.append(len(self._geometries))
        self._bounds.append(shapely.bounds(parts).reshape(-1, 4))

    def layer(self, crs: str) -> Layer:
        """Return the layer."""
        import numpy as np

        return Layer(
            source=self._source,
            crs=crs,
            geometries=self._geometries,
            ends=self._ends,
            bounds=np.concatenate([np.empty((0, 4)), *self._bounds]),
            features=self._features,
            labels=self._labels,
        )


def _where(source: Path, feature: int) -> str:
    return f"{source.name} feature {feature}"


def _parts(shape: Geometry | None, where: str, skip: Skip) -> Iterator[Geometry]:
    """Yield the polygons of a feature, valid."""
    import shapely

    if shape is None or shape.is_empty:
        skip("feature without a geometry that can be read", where)
        return
    others: dict[str, None] = {}
    for part in _flat(shape):
        if part.geom_type != "Polygon":
            others[part.geom_type] = None
            continue
        valid = part if part.is_valid else shapely.make_valid(part)
        if valid.area > 0:
            yield valid
        else:
            skip("polygon without area", where)
    for kind in others:
        skip(f"geometry that is no polygon: {kind}", where)


def _flat(shape: Geometry) -> Iterator[Geometry]:
    """Yield the parts of a geometry, and those of collections in it."""
    import shapely

    for part in shapely.get_parts(shape):
        is_one = part.geom_type in ("Point", "LineString", "LinearRing", "Polygon")
        yield from (part,) if is_one else _flat(part)
