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
    from shapely import Geometry

_LON_LAT = "OGC:CRS84"
_FURTHEST = (360.0, 90.0)
"""Longitude and latitude that degrees do not exceed."""
_LISTED = 8
"""Fields that a message names."""
_HEAD = 1 << 16
_AGAIN = "save the layer again from QGIS, with its CRS"


class Feature(NamedTuple):
    """A feature as it is stored."""

    where: str
    """Its place, such as `roofs.geojson feature 17`; counted from 0."""
    shape: Geometry | None
    properties: Mapping[str, Any]


class Polygon(NamedTuple):
    """A part of a feature: one object."""

    feature: str
    """Place of its feature."""
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
    features: Sequence[Feature]
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
    found: list[Polygon] = []
    for feature in stored.features:
        label = _label(feature.properties.get(name)) if name else only
        if label:
            found += [Polygon(feature.where, part, label) for part in _parts(feature, skip)]
        else:
            skip(f"feature without a value in {name!r}", feature.where)
    return Layer(crs=stored.crs, polygons=tuple(found))


def _geojson(source: Path) -> _Stored:
    import shapely

    table = files.read_json(source)
    kind = table.get("type") if isinstance(table, Mapping) else None
    listed = table.get("features") if kind == "FeatureCollection" else None
    if not isinstance(listed, list):
        raise DataError(f"{source} is not GeoJSON: it is no FeatureCollection", hint=_AGAIN)
    features: list[Feature] = []
    fields: dict[str, None] = {}
    for number, each in enumerate(listed):
        own = each if isinstance(each, Mapping) else {}
        geometry, properties = own.get("geometry"), own.get("properties")
        properties = properties if isinstance(properties, Mapping) else {}
        shape = shapely.from_geojson(dumps(geometry), on_invalid="ignore") if geometry else None
        features.append(Feature(f"{source.name} feature {number}", shape, properties))
        fields |= dict.fromkeys(properties)
    crs = _member(table, source)
    if crs == _LON_LAT:
        _require_degrees(features, source)
    return _Stored(crs, features, tuple(fields))


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


def _require_degrees(features: Sequence[Feature], source: Path) -> None:
    corners = [f.shape.bounds[:2] for f in features if f.shape is not None and f.shape.bounds]
    beyond = [abs(x) > _FURTHEST[0] or abs(y) > _FURTHEST[1] for x, y in corners]
    if beyond and all(beyond):
        raise DataError(
            f"{source} has no member crs, and its coordinates, such as {corners[0]}, are no "
            "longitude and latitude",
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
    features = [
        Feature(
            f"{source.name} feature {number}", shape, {label: values[0][number]} if columns else {}
        )
        for number, shape in enumerate(shapely.from_wkb(shapes, on_invalid="ignore"))
    ]
    return _Stored(str(facts["crs"]), features, fields)


def _label(value: Any) -> str:
    """Return a value as a label; empty for none, NaN, and lists and objects."""
    if value is None or value != value or isinstance(value, list | dict):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return " ".join(str(value).split())


def _parts(feature: Feature, skip: Skip) -> Iterator[Geometry]:
    """Yield the polygons of a feature, in two dimensions and valid."""
    import shapely

    if feature.shape is None or feature.shape.is_empty:
        skip("feature without a geometry that can be read", feature.where)
        return
    others: dict[str, None] = {}
    for part in _flat(feature.shape):
        if part.geom_type != "Polygon":
            others[part.geom_type] = None
            continue
        shape = shapely.force_2d(part)
        shape = shape if shape.is_valid else shapely.make_valid(shape)
        if shape.area > 0:
            yield shape
        else:
            skip("polygon without area", feature.where)
    for kind in others:
        skip(f"geometry that is no polygon: {kind}", feature.where)


def _flat(shape: Geometry) -> Iterator[Geometry]:
    """Yield the parts of a geometry, and those of collections in it."""
    import shapely

    for part in shapely.get_parts(shape):
        is_one = part.geom_type in ("Point", "LineString", "LinearRing", "Polygon")
        yield from (part,) if is_one else _flat(part)
