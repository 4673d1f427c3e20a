"""Reads what `datasets` says of the columns of a table: the names of classes, and its splits.

`datasets` stores a class as a number and its names among the features of the data set: in the
metadata of a Parquet file, or beside the Arrow files that it saves.

Source: datasets 5.2, `Features.to_dict`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from geovlm.errors import DataError
from geovlm.files import records as files
from geovlm.plugins.annotations.tables import cells

_LISTS = frozenset({"List", "LargeList", "Sequence"})
_WORD = re.compile(r"[a-z]+")


def of_metadata(metadata: Mapping[bytes, bytes] | None, where: Any) -> Mapping[str, Any]:
    """Return column -> feature from the metadata of a schema; empty if `datasets` wrote none."""
    text = (metadata or {}).get(b"huggingface")
    if text is None:
        return {}
    try:
        found = files.parse_json(text.decode(errors="replace"), where)
        return dict(found["info"]["features"])
    except (DataError, KeyError, TypeError, ValueError):
        return {}


def named(row: Mapping[str, Any], features: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with the names of classes in place of their numbers."""
    return {
        name: decoded(value, features[name]) if _has_classes(features.get(name)) else value
        for name, value in row.items()
    }


def decoded(value: Any, feature: Any) -> Any:
    """Return a value with the names of classes for their numbers; `None` for one without a name."""
    if value is None:
        return None
    if isinstance(feature, list):
        return [decoded(each, feature[0]) for each in value]
    kind = feature.get("_type")
    if kind == "ClassLabel":
        names = feature.get("names") or ()
        return names[value] if isinstance(value, int) and 0 <= value < len(names) else None
    if kind in _LISTS:
        inner = feature["feature"]
        if isinstance(value, Mapping):  # a list of objects, stored as an object of lists
            return {
                key: [decoded(each, inner[key]) for each in held] for key, held in value.items()
            }
        return [decoded(each, inner) for each in value]
    if isinstance(kind, str):
        return value
    return {key: decoded(each, feature[key]) for key, each in value.items()}


def split_of(part: PurePath) -> str:
    """Return the word for a split in the path of a file, as `data/train-00000-of-00002.parquet`."""
    words = (word for each in reversed(part.parts) for word in _WORD.findall(each.lower()))
    return next((word for word in words if word in cells.SPLITS), "")


def _has_classes(feature: Any) -> bool:
    """Return True if a feature holds numbers of classes somewhere."""
    if isinstance(feature, list):
        return any(map(_has_classes, feature))
    if not isinstance(feature, Mapping):
        return False
    return feature.get("_type") == "ClassLabel" or any(
        _has_classes(each) for each in feature.values() if isinstance(each, list | Mapping)
    )
