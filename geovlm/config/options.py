"""Finds tables by a name or its prefix, and checks options against the class that declares them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from geovlm.errors import ConfigError


def nearest(table: Mapping[str, Any], name: str) -> str:
    """Return the key of a name or of its nearest prefix (`xbd/detect`, then `xbd`), or ""."""
    while name and name not in table:
        name = name.rpartition("/")[0]
    return name


def lookup(table: Mapping[str, Any], name: str) -> Any:
    """Return the entry of a name or of its nearest prefix, or `None`."""
    return table.get(nearest(table, name))


def near(name: str, known: Iterable[str]) -> str:
    """Return `did you mean 'x'?`, or an empty text if no known name is similar."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean {found[0]!r}?" if found else ""


def parse(cls: type | None, values: Mapping[str, Any], *, path: str, exact: bool = True) -> Any:
    """Return an instance of an `options` class with these values; `None` without a class.

    `path` is the key of the values in the configuration. They are `exact` if they are meant for
    this class alone; those of a prefix may be meant for others, and are ignored without a class.

    Raises:
        ConfigError: an unknown key or a wrong type; names the key.
    """
    if cls is None:
        if values and exact:
            raise ConfigError(f"{path}: there are none to set", hint=f"leave out {sorted(values)}")
        return None
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        known = list(getattr(cls, "__dataclass_fields__", {}))
        hint = near(key, known) or f"known are {', '.join(known)}"
        if str(first["loc"][0]) in known:  # the key is right, its value is not
            allowed = re.findall(r"'([^']*)'", str(first.get("ctx", {}).get("expected", "")))
            hint = near(str(first["input"]), allowed) or f"it is {first['input']!r}"
        raise ConfigError(f"{path}.{key}: {first['msg'].lower()}", hint=hint) from error
