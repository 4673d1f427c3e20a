"""Reads the values of a table's cells: texts, lists of texts, numbers; whatever wrote them."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from geovlm.api import Split

SPLITS: Mapping[str, Split] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
"""Name of a split in a table -> split."""
_TEXTS = ("raw", "caption", "text", "sentence", "value")
"""Keys of a caption that is an object, the first that is there."""


def text(value: Any) -> str:
    """Return a value as text; empty for what is neither a text nor one number.

    A whole number has no decimals (pandas writes 3.0 where a column has gaps), a list of one value
    is that value.
    """
    if isinstance(value, str):
        return value.strip()
    if value is None:
        return ""
    if isinstance(value, list | tuple) and len(value) == 1:
        return text(value[0])
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, int | float) else ""


def texts(value: Any) -> tuple[str, ...]:
    """Return a value as texts: a list, its JSON or Python form, or texts with `|` between them."""
    if isinstance(value, str):
        value = listed(value)
    if isinstance(value, Mapping):  # options by letter
        value = [value[key] for key in sorted(value)]
    if not isinstance(value, list | tuple):
        value = [value]
    found = (
        next((each[key] for key in _TEXTS if key in each), "")
        if isinstance(each, Mapping)
        else each
        for each in value
    )
    return tuple(each for each in map(text, found) if each)


def listed(value: str) -> Any:
    """Return the list in a cell of CSV; a text that is none is split at `|`."""
    if value.lstrip()[:1] in ("[", "(", "{"):
        for parse in (json.loads, ast.literal_eval):
            try:
                return parse(value)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
    return [part.strip() for part in value.split("|")]


def flat(value: Any) -> list[Any]:
    """Return the values of a cell, or of several that may hold lists, one after another."""
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        return [value]
    return [each for part in value for each in flat(part)]


def numbers(value: Any) -> tuple[float, ...] | None:
    """Return a list of finite numbers, or of their texts; `None` for what is none."""
    if not isinstance(value, list | tuple):
        return None
    found = tuple(_floats(value))
    return found if len(found) == len(value) else None


def _floats(value: Iterable[Any]) -> Iterator[float]:
    for each in value:
        try:
            number = float(each)
        except (TypeError, ValueError):
            return
        if not math.isfinite(number) or isinstance(each, bool):
            return
        yield number
