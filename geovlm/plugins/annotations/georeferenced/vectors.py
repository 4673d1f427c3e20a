"""Reads the polygons of a vector layer: GeoJSON, GeoPackage or shapefile, as saved from QGIS.

Coordinates of GeoJSON are longitude and latitude (RFC 7946), or those of the member `crs` that GDAL
and QGIS write: x before y, whatever the CRS declares. GeoPackages and shapefiles are read by
pyogrio. Each part of a MultiPolygon is an object of its own. Holes count for its area; Z values do
not. Points and lines are left out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from geovlm.errors import ConfigError, DataError
from geovlm.files import records as files
from geovlm.files.jsontext import dumps
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.records import Skip

if TYPE_CHECKING:
    import numpy as np
    from shapely import Geometry

_LON_LAT = "OGC:CRS84"
_FURTHEST = (360.0, 90.0)
"""Longitude and latitude that degrees do not exceed."""
_LISTED = 8
"""Fields that a message names."""
_HEAD = 1 << 16
_AGAIN = "save the layer again from QGIS, with its CRS"


class Polygon(NamedTuple):
    """A part of a feature: one object."""

    feature: str
    """Place of its feature, such as `roofs.geojson feature 17`; counted from 0."""
    shape: Geometry
    """A valid polygon, or the polygons that a self-intersecting one becomes; x and y of the CRS."""
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """The objects of a vector layer."""

    crs: str
    """`EPSG:…`, a URN or WKT; coordinates are x, then y."""
    polygons: tuple[Polygon, ...]


class _Stored(NamedTuple):
    """A layer as it is stored."""

    crs: str
    shapes: np.ndarray
    """Geometry of each feature, or `None`."""
    properties: Sequence[Mapping[str, Any]]
    """Field -> value, for each feature."""
    fields: Sequence[str]


def is_geojson(source: Path) -> bool:
    """True for a `.geojson` file, or a `.json` that begins as a collection of features."""
    if not source.is_file() or source.suffix.lower() not in (".geojson", ".json"):
        return False
    with source.open("rb") as file:
        return source.suffix.lower() == ".geojson" or b'"FeatureCollection"' in file.read(_HEAD)


def is_geopackage(source: Path) -> bool:
    """True for a `.gpkg` file."""
    return source.is_file() and source.suffix.lower() == ".gpkg"


def is_shapefile(source: Path) -> bool:
    """True for a `.shp` file."""
    return source.is_file() and source.suffix.lower() == ".shp"


def read(source: Path, description: Description, skip: Skip) -> Layer:
    """Return the labelled polygons of a file.

    A label is the value of the field `columns.label`. Without it all objects have one label: the
    only one of `labels`, or else the name of the data set.

    Raises:
        DataError: the file is no vector layer, its CRS is not known, or it has no such field.
        ConfigError: pyogrio is needed and not installed.
    """
    import shapely

    name = description.columns.get("label", "")
    if not isinstance(name, str):
        raise DataError(f"columns.label names several fields of {source}", hint="name one")
    stored = _geojson(source) if description.format == "geojson" else _by_pyogrio(source, name)
    if name and name not in stored.fields:
        near = difflib.get_close_matches(name, stored.fields, n=1)
        listed = ", ".join(stored.fields[:_LISTED]) or "none"
        hint = f"did you mean {near[0]!r}?" if near else f"its fields are {listed}"
        raise DataError(f"{source}: no feature has a field {name!r}", hint=hint)
    only = description.labels[0] if len(description.labels) == 1 else description.name
    shapes = shapely.force_2d(stored.shapes)
    is_polygon = shapely.get_type_id(shapes) == shapely.GeometryType.POLYGON
    simple = is_polygon & shapely.is_valid(shapes) & (shapely.area(shapes) > 0)
    found: list[Polygon] = []
    for number, properties in enumerate(stored.properties):
        where = f"{source.name} feature {number}"
        label = _label(properties.get(name)) if name else only
        if not label:
            skip(f"feature without a value in {name!r}", where)
        elif simple[number]:
            found.append(Polygon(where, shapes[number], label))
        else:
            found += [Polygon(where, part, label) for part in _parts(shapes[number], where, skip)]
    return Layer(crs=stored.crs, polygons=tuple(found))


def _geojson(source: Path) -> _Stored:
    import shapely

    table = files.read_json(source)
    kind = table.get("type") if isinstance(table, Mapping) else None
    listed = table.get("features") if kind == "FeatureCollection" else None
    if not isinstance(listed, list):
        raise DataError(f"{source} is not GeoJSON: it is no FeatureCollection", hint=_AGAIN)
    geometries: list[str | None] = []
    properties: list[Mapping[str, Any]] = []
    for each in listed:
        own = each if isinstance(each, Mapping) else {}
        geometries.append(dumps(own["geometry"]) if own.get("geometry") else None)
        properties.append(own["properties"] if isinstance(own.get("properties"), Mapping) else {})
    shapes = shapely.from_geojson(geometries, on_invalid="ignore")
    crs = _member(table, source)
    if crs == _LON_LAT:
        _require_degrees(shapes, source)
    return _Stored(
        crs, shapes, properties, tuple({name: None for own in properties for name in own})
    )


def _member(table: Mapping[str, Any], source: Path) -> str:
    """Return the CRS of a GeoJSON; the member `crs` is that of the format of 2008."""
    if table.get("crs") is None:
        return _LON_LAT
    try:
        own = table["crs"]["properties"]
        return str(own["name"] if "name" in own else f"EPSG:{own['code']}")
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{source}: its member crs is {dumps(table['crs']):.80}, which names none", hint=_AGAIN
        ) from error


def _require_degrees(shapes: np.ndarray, source: Path) -> None:
    import numpy as np
    import shapely

    corners = shapely.bounds(shapes)[:, :2]
    corners = corners[np.isfinite(corners).all(axis=1)]
    if len(corners) and (np.abs(corners) > _FURTHEST).any(axis=1).all():
        x, y = corners[0]
        raise DataError(
            f"{source} has no member crs, and its coordinates, such as ({x:.10g}, {y:.10g}), are "
            "no longitude and latitude",
            hint=f"{_AGAIN}, and longitudes first",
        )


def _by_pyogrio(source: Path, label: str) -> _Stored:
    try:
        import pyogrio
        from pyogrio.errors import DataLayerError, DataSourceError
    except ImportError as error:
        raise ConfigError(
            f"reading {source.name} needs pyogrio, which is not installed",
            hint="pip install 'geovlm[geo]', or save the layer as GeoJSON",
        ) from error
    import shapely

    try:
        layers = [str(name) for name, kind in pyogrio.list_layers(source) if kind is not None]
        if len(layers) != 1:
            raise DataError(
                f"{source} has {len(layers)} layers of features: {', '.join(layers) or 'none'}",
                hint="save the one that is meant to a file of its own",
            )
        fields = [str(name) for name in pyogrio.read_info(source, layer=layers[0])["fields"]]
        columns = [label] if label in fields else []
        facts, _, shapes, values = pyogrio.raw.read(source, layer=layers[0], columns=columns)
    except (DataSourceError, DataLayerError) as error:
        raise DataError(f"{source} cannot be read: {error}", hint="copy all its files") from error
    if not facts["crs"]:
        raise DataError(
            f"{source} has no CRS",
            hint=f"{_AGAIN}; that of a shapefile is in {source.stem}.prj",
        )
    found = values[0] if columns else [None] * len(shapes)
    return _Stored(
        str(facts["crs"]),
        shapely.from_wkb(shapes, on_invalid="ignore"),
        [{label: value} for value in found],
        fields,
    )


def _label(value: Any) -> str:
    """Return a value as a label; empty for none, NaN, and lists and objects."""
    if value is None or value != value or isinstance(value, list | dict):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return " ".join(str(value).split())


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
