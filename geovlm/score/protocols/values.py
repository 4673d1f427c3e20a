"""Reads the values of a prediction file as text: one rule for answers and for truths."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from geovlm.answers import MAX_CHARS

_EXACT = 2**53  # floats below are exact integers
_DEPTH = 3
"""Depth of numbers in lists of boxes: a list of groups of boxes."""


class UnreadableError(ValueError):
    """A value that cannot be read; the message is the reason under which it is counted.

    `scoring.score` decides what follows. An answer that cannot be read is a wrong answer, so that
    failing never pays. A record whose truth cannot be read is skipped.
    """


def text(fields: Mapping[str, Any], *names: str, listed: bool = False) -> str:
    """Return the first of these fields that is there, as text.

    A number is its text: 4 and 4.0 are `4`, true is `true`. With `listed` a list of texts is its
    members with `; ` between them, and a list of numbers and lists is its JSON text.

    Raises:
        UnreadableError: there is no such field, or it is null, NaN, infinite, an object, a list
            without `listed`, blank, or longer than `answers.MAX_CHARS`.
    """
    name = next((each for each in names if each in fields), None)
    if name is None:
        raise UnreadableError(f"no field {' or '.join(map(repr, names))}")
    value = fields[name]
    found = _list(value, name) if listed and isinstance(value, list) else plain(value, name)
    if not found.strip():
        raise UnreadableError(f"field {name!r} is empty")
    return found


def texts(fields: Mapping[str, Any], name: str) -> list[str]:
    """Return a field that is a list of texts, empty if it is absent or null.

    Raises:
        UnreadableError: it is anything else.
    """
    value = fields.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise UnreadableError(f"field {name!r} is not a list of texts")
    return value


def plain(value: Any, name: str) -> str:
    """Return a text, a number or a truth value as text, maybe blank.

    Raises:
        UnreadableError: it is anything else; names the field.
    """
    if isinstance(value, str):
        if len(value) > MAX_CHARS:
            raise UnreadableError(f"field {name!r} is longer than {MAX_CHARS:,} characters")
        return value
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < _EXACT else repr(value)
    raise UnreadableError(f"field {name!r} is {_kind(value)}")


def integer(digits: str) -> int | str:
    """Return the value of a JSON integer; one too long for Python's `int` stays its digits."""
    try:
        return int(digits)
    except ValueError:
        return digits


def _list(value: list[Any], name: str) -> str:
    texts = sum(isinstance(each, str) for each in value)
    if texts and texts == len(value):
        return "; ".join(value)
    if texts:
        raise UnreadableError(f"field {name!r} is a list of texts and other values")
    return _numbers(value, name, depth=_DEPTH)


def _numbers(value: Any, name: str, *, depth: int) -> str:
    if isinstance(value, list) and depth:
        return f"[{', '.join(_numbers(each, name, depth=depth - 1) for each in value)}]"
    try:
        return "null" if isinstance(value, bool | str) else plain(value, name)
    except UnreadableError:
        return "null"  # a group with such a member is no box


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        return "not a finite number"
    return "a list" if isinstance(value, list) else "an object"
