"""Reads prediction files: one JSON object per line, ours or others'; malformed ones are counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from geovlm.errors import DataError
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
        DataError: the file is absent, or no line of it holds a JSON object.
    """
    if not path.is_file():
        raise DataError(
            f"no prediction file {str(path)!r}", hint="name a file with one JSON object per line"
        )
    records: list[Record] = []
    skipped: Counter[str] = Counter()
    with path.open("rb") as lines:
        for line in lines:
            if not line.strip():
                continue
            try:
                fields = json.loads(line)
            except (ValueError, RecursionError):  # bad UTF-8 is a ValueError too
                skipped["line is not JSON"] += 1
                continue
            if not isinstance(fields, dict):
                skipped["line is not a JSON object"] += 1
                continue
            own = all(name in fields for name in _OWN)
            records.append(Record(fields=fields, own=own, folder=path.parent))
    if not records:
        raise DataError(
            f"{str(path)!r} holds no JSON object", hint="write one prediction per line as JSON"
        )
    return PredictionFile(path, records, skipped)


def task(file: PredictionFile) -> str | None:
    """Return the task that the file's first record names; `None` if the file is not GeoVLM's."""
    first = file.records[0]
    return str(first.fields["task"]) if first.own else None


def image(fields: Mapping[str, Any]) -> Hashable | None:
    """Return an identifier of the image or images of a record; `None` if it names none."""
    for name in _IMAGES:
        if fields.get(name):
            return json.dumps([name, fields[name]], sort_keys=True)
    return None
