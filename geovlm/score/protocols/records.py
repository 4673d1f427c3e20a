"""Reads prediction files: one JSON object per line, ours or others'; malformed ones are counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from geovlm import files
from geovlm.errors import DataError
from geovlm.score.protocols import values
from geovlm.score.protocols.contract import Record

_OWN = ("task", "completion", "target")
_IMAGES = ("images", "image", "image_id", "img_id", "filename", "image_path")


class PredictionFile(NamedTuple):
    """The records of a file, and the number of lines left out by reason."""

    path: Path
    records: list[Record]
    skipped: Counter[str]


def read(path: Path) -> PredictionFile:
    """Read a prediction file; blank lines are ignored, malformed ones are counted.

    Raises:
        DataError: the file is absent or holds no text, or no line of it holds a JSON object.
    """
    if not path.is_file():
        raise DataError(
            f"no prediction file {str(path)!r}", hint="name a file with one JSON object per line"
        )
    objects: list[dict[str, Any]] = []
    skipped: Counter[str] = Counter()
    for _, fields in files.json_lines(
        path, skip=lambda reason, item: skipped.update([reason]), parse_int=values.integer
    ):
        if isinstance(fields, dict):
            objects.append(fields)
        else:
            skipped["line is not a JSON object"] += 1
    if not objects:
        raise DataError(
            f"{str(path)!r} holds no JSON object", hint="write one prediction per line as JSON"
        )
    own = any(_fields_of_ours(fields) == len(_OWN) for fields in objects)
    records: list[Record] = []
    known: set[tuple[str, str]] = set()
    for fields in objects:
        # in a file of ours, a record that lacks one of our fields is damaged, not someone else's
        ours = own and _fields_of_ours(fields) >= len(_OWN) - 1
        key = (str(fields.get("task")), str(fields.get("sample_id")))
        if ours and "sample_id" in fields and key in known:
            skipped["sample_id repeats that of an earlier line"] += 1
            continue
        known.add(key)
        records.append(Record(fields=fields, own=ours, folder=path.parent))
    return PredictionFile(path, records, skipped)


def task(file: PredictionFile) -> str | None:
    """Return the task that the file's first records name; `None` if the file is not GeoVLM's."""
    named = (each.fields.get("task") for each in file.records if each.own)
    return next((name for name in named if isinstance(name, str)), None)


def _fields_of_ours(fields: Mapping[str, Any]) -> int:
    return sum(name in fields for name in _OWN)


def image(fields: Mapping[str, Any]) -> Hashable | None:
    """Return an identifier of the image or images of a record; `None` if it names none."""
    for name in _IMAGES:
        if fields.get(name):
            return json.dumps([name, fields[name]], sort_keys=True)
    return None
