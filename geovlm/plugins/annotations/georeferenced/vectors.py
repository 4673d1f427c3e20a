"""Reads the polygons of a vector layer: GeoJSON, GeoPackage or shapefile, as saved from QGIS.

Coordinates of GeoJSON are longitude and latitude (RFC 7946), or those of the member `crs` that GDAL
and QGIS write: x before y, whatever the CRS declares. GeoPackages and shapefiles are read by
pyogrio. Each part of a MultiPolygon is an object of its own. Holes count for its area; Z values do
not. Points and lines are left out.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from geovlm.errors import ConfigError, DataError
from geovlm.files import streams
from geovlm.files.jsontext import dumps
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.georeferenced.layers import Layer, Polygons
from geovlm.plugins.annotations.records import Skip

_LON_LAT = "OGC:CRS84"
_LISTED = 8
"""Fields that a message names."""
_HEAD = 1 << 16
_AT_ONCE = 1024
_AGAIN = "save the layer again from QGIS, with its CRS"


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
    only = description.labels[0] if len(description.labels) == 1 else description.name
    found = Polygons(source, name, only, skip)
    stored = (_geojson if description.format == "geojson" else _by_pyogrio)(source, name, found)
    if name and name not in stored.fields:
        near = difflib.get_close_matches(name, stored.fields, n=1)
        listed = ", ".join(stored.fields[:_LISTED]) or "none"
        hint = f"did you mean {near[0]!r}?" if near else f"its fields are {listed}"
        raise DataError(f"{source}: no feature has a field {name!r}", hint=hint)
    return found.layer(stored.crs)


class _Stored(NamedTuple):
    """Facts about a layer."""

    crs: str
    fields: Sequence[str]


def _geojson(source: Path, label: str, found: Polygons) -> _Stored:
    import shapely

    kind = crs = None
    has_features = False
    fields: dict[str, None] = {}
    for key, value in streams.json_members(source):
        if key == "type":
            kind = value
        elif key == "crs":
            crs = value
        elif key == "features" and isinstance(value, Iterator):
            has_features = True
            while some := list(islice(value, _AT_ONCE)):
                shapes = shapely.from_geojson(list(map(_geometry, some)), on_invalid="ignore")
                many = list(map(_properties, some))
                found.add(shapes, [_label(own.get(label)) for own in many])
                for own in many:
                    fields |= dict.fromkeys(own)
    if kind != "FeatureCollection" or not has_features:
        raise DataError(f"{source} is not GeoJSON: it is no FeatureCollection", hint=_AGAIN)
    named = _named(crs, source)
    if named == _LON_LAT:
        _require_degrees(found, source)
    return _Stored(named, tuple(fields))


def _geometry(feature: Any) -> str | None:
    own = feature.get("geometry") if isinstance(feature, Mapping) else None
    return dumps(own) if own else None


def _properties(feature: Any) -> Mapping[str, Any]:
    own = feature.get("properties") if isinstance(feature, Mapping) else None
    return own if isinstance(own, Mapping) else {}


def _named(crs: Any, source: Path) -> str:
    """Return the CRS that the member `crs` of a GeoJSON names, as in the format of 2008."""
    if crs is None:
        return _LON_LAT
    try:
        own = crs["properties"]
        return str(own["name"] if "name" in own else f"EPSG:{own['code']}")
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{source}: its member crs is {dumps(crs):.80}, which names none", hint=_AGAIN
        ) from error


def _require_degrees(found: Polygons, source: Path) -> None:
    if found.corner is not None and not found.has_degrees:
        x, y = found.corner
        raise DataError(
            f"{source} has no member crs, and its coordinates, such as ({x:.10g}, {y:.10g}), are "
            "no longitude and latitude",
            hint=f"{_AGAIN}, and longitudes first",
        )


def _by_pyogrio(source: Path, label: str, found: Polygons) -> _Stored:
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
    for start in range(0, len(shapes), _AT_ONCE):
        some = shapely.from_wkb(shapes[start : start + _AT_ONCE], on_invalid="ignore")
        own = values[0][start : start + _AT_ONCE] if columns else [None] * len(some)
        found.add(some, list(map(_label, own)))
    return _Stored(str(facts["crs"]), fields)


def _label(value: Any) -> str:
    """Return a value as a label; empty for none, NaN, and lists and objects."""
    if value is None or value != value or isinstance(value, list | dict):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return sys.intern(" ".join(str(value).split()))  # many features share it
