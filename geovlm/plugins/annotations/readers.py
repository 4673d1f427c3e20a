"""Holds the table of formats: how each is recognised and read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from geovlm.api import Split
from geovlm.errors import DataError
from geovlm.plugins.annotations import coco, voc, yolo
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.georeferenced import vectors, windows
from geovlm.plugins.annotations.records import Record, Skip
from geovlm.plugins.annotations.sources import classes, labelstudio
from geovlm.plugins.annotations.tables import reading, rows, saved


class Reader(NamedTuple):
    """A format of annotations."""

    title: str
    """Name of the format and of the file or folder to give."""
    recognises: Callable[[Path], bool]
    """True if an existing file or folder is of this format."""
    read: Callable[[Path, Description, Skip], Iterator[Record]]
    """Yields the records of a file or folder; what is left out goes to `skip`."""
    read_splits: (
        Callable[[Path, Description, Skip, Mapping[Split, Skip]], Iterator[Record]] | None
    ) = None
    """As `read`, but passes over what is of none of these splits, as far as that saves work, and
    calls the `skip` of a split once that is known."""
    task: str = ""
    """Task for which its records usually are. Empty: the records decide."""


READERS: Mapping[str, Reader] = {
    "yolo": Reader("YOLO (data.yaml or its folder)", yolo.recognises, yolo.read, task="detect"),
    "voc": Reader("Pascal VOC (a folder of .xml)", voc.recognises, voc.read, task="detect"),
    "geojson": Reader(
        "GeoJSON (.geojson) over GeoTIFFs", vectors.is_geojson, windows.read, task="detect"
    ),
    "gpkg": Reader(
        "GeoPackage (.gpkg) over GeoTIFFs", vectors.is_geopackage, windows.read, task="detect"
    ),
    "shp": Reader(
        "shapefile (.shp) over GeoTIFFs", vectors.is_shapefile, windows.read, task="detect"
    ),
    "labelstudio": Reader(
        "a JSON export of Label Studio", labelstudio.recognises, labelstudio.read
    ),
    "datasets": Reader("a folder of save_to_disk", saved.recognises, rows.read, rows.read),
    "csv": Reader("CSV or TSV", reading.is_csv, rows.read, rows.read),
    "jsonl": Reader("JSON lines (.jsonl)", reading.is_jsonl, rows.read, rows.read),
    "parquet": Reader("Parquet", reading.is_parquet, rows.read, rows.read),
    "coco": Reader("COCO (.json)", coco.recognises, coco.read),
    "json": Reader("a JSON list of records", reading.is_json, rows.read, rows.read),
    "folders": Reader("one folder per class", classes.recognises, classes.read, task="classify"),
}
"""Format -> reader, in the order in which they are tried."""


def recognise(source: Path) -> str:
    """Return the format of a file or folder, as `Description.format` has it.

    Raises:
        DataError: it does not exist, or is of none of the formats; names those that are known.
    """
    if not source.exists():
        raise DataError(f"{source} does not exist", hint="give an annotation file or a folder")
    for name, reader in READERS.items():
        if reader.recognises(source):
            return name
    inside = sorted(source.rglob("*.json"))[:1] if source.is_dir() else []
    if inside:
        raise DataError(
            f"the format of the folder {source} is not known",
            hint=f"it holds {inside[0].relative_to(source)}: give that file",
        )
    known = ", ".join(reader.title for reader in READERS.values())
    raise DataError(f"the format of {source} is not known", hint=f"known are {known}; see --format")
