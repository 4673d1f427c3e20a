"""Writes features to GeoJSON and GeoPackage, under a temporary name until the file is complete."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeAlias

from geovlm.errors import ConfigError, DataError
from geovlm.files.jsontext import dumps
from geovlm.predict import features

Summary: TypeAlias = Callable[[], Mapping[str, Any]]
LAYER = "predictions"
FIELDS = ("label", "task", "model", "reasoning", "tile", "labels", "parts")
_BATCH = 10_000  # features per call of OGR


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; move the file to `path` if the block succeeds."""
    scratch = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        yield scratch
        with scratch.open("rb+") as file:
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def geojson(path: Path | None, found: Iterable[Any], *, summary: Summary) -> None:
    """Write a FeatureCollection, feature by feature; to standard output if `path` is `None`.

    `summary` returns the foreign member `geovlm` and is called after the last feature.
    """
    if path is None:
        _collection(sys.stdout, found, summary=summary)
        return
    with replacing(path) as scratch, scratch.open("w", encoding="utf-8") as file:
        _collection(file, found, summary=summary)


def geopackage(path: Path, found: Iterable[Any], *, crs: str | None) -> None:
    """Write a GeoPackage with the layer `predictions`; lists become JSON text.

    The layer holds multipolygons: at the antimeridian, features have two parts. `crs` is that of
    their coordinates; `None`: pixels.

    Raises:
        ConfigError: pyogrio is not installed.
        DataError: OGR cannot write the file.
    """
    require_geopackage()
    from pyogrio.errors import DataLayerError, DataSourceError

    rest = iter(found)
    with replacing(path) as scratch:
        try:
            _write(scratch, list(islice(rest, _BATCH)), crs=crs, append=False)
            while batch := list(islice(rest, _BATCH)):
                _write(scratch, batch, crs=crs, append=True)
        except (DataSourceError, DataLayerError) as error:
            raise DataError(f"{path} cannot be written: {error}") from error


def require_geopackage() -> None:
    """Raise `ConfigError` if pyogrio is not installed, before any work is done."""
    from importlib.util import find_spec

    if find_spec("pyogrio") is None:
        raise ConfigError(
            "writing a GeoPackage needs pyogrio, which is not installed",
            hint="pip install 'geovlm[geo]', or give --out F.geojson",
        )


def _collection(file: IO[str], found: Iterable[Any], *, summary: Summary) -> None:
    file.write('{"type": "FeatureCollection",\n"features": [')
    extent: list[float] | None = None
    for number, each in enumerate(found):
        extent = features.union(extent, each["bbox"])
        # a coordinate that is not finite is a fault of ours, so it is an error
        text = json.dumps(each, ensure_ascii=False, allow_nan=False)  # noqa: TID251
        file.write(f"{',' if number else ''}\n{text}")
    file.write("\n],\n")
    if extent is not None:
        file.write(f'"bbox": {dumps(extent)},\n')
    file.write(f'"geovlm": {dumps(dict(summary()), ascii=False)}}}\n')


def _write(path: Path, batch: list[Any], *, crs: str | None, append: bool) -> None:
    import numpy as np
    import shapely
    from pyogrio import raw

    shapes = shapely.from_geojson([dumps(each["geometry"]) for each in batch])
    parts = [shapely.MultiPolygon(list(shapely.get_parts(shape))) for shape in shapes]
    columns = [np.array([_cell(each, name) for each in batch], dtype=object) for name in FIELDS]
    raw.write(
        path,
        geometry=np.array(shapely.to_wkb(parts), dtype=object),
        field_data=columns,
        fields=np.array(FIELDS, dtype=object),
        geometry_type="MultiPolygon",
        crs=crs,
        driver="GPKG",
        layer=LAYER,
        append=append,
    )


def _cell(each: Any, name: str) -> str | None:
    value = each["properties"].get(name)
    return value if value is None or isinstance(value, str) else dumps(value)
