"""Writes JSON that every reader takes: RFC 8259 knows no NaN and no infinity."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from typing import Any


def dumps(
    value: Any,
    *,
    indent: int | None = None,
    ascii: bool = True,
    sort_keys: bool = False,
    default: Callable[[Any], Any] | None = None,
) -> str:
    """Return the value as JSON; a number that is not finite, as in a user's data, becomes null.

    The arguments are those of `json.dumps`, `ascii` is its `ensure_ascii`.
    """

    def written(value: Any) -> str:
        return json.dumps(
            value,
            indent=indent,
            ensure_ascii=ascii,
            sort_keys=sort_keys,
            default=default,
            allow_nan=False,
        )

    try:
        return written(value)
    except ValueError:  # rare, so that the other values need no walk
        return written(finite(value))


def lines(records: Iterable[Any], *, ascii: bool = True) -> str:
    """Return each record as JSON on a line of its own."""
    return "".join(dumps(record, ascii=ascii) + "\n" for record in records)


def finite(value: Any) -> Any:
    """Return the value with every number that is not finite replaced by `None`, in keys too."""
    if isinstance(value, dict):
        return {finite(key): finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
