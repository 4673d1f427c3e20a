"""Values of arguments and options, parsed the same way for every command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geovlm.api import Json
from geovlm.errors import ConfigError


def pair(text: str) -> tuple[str, Json]:
    """Return the key and value of `K=V`; a value that is not JSON is a string.

    Raises:
        ConfigError: there is no `=`, or nothing before it.
    """
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ConfigError(f"--option {text!r} is not of the form K=V", hint="such as hbb=drop")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def data_folders(values: Sequence[str]) -> tuple[Path | None, dict[str, dict[str, str]]]:
    """Return the common data root, and the folders of single data sets.

    Raises:
        ConfigError: two common roots.
    """
    root: Path | None = None
    roots: dict[str, dict[str, str]] = {}
    for value in values:
        name, sign, folder = value.partition("=")
        if sign and not Path(value).exists():
            roots[name] = {"root": folder}
        elif root is not None:
            raise ConfigError(
                f"--data {value}: the common folder is {root} already",
                hint="the folder of one data set is given as --data NAME=DIR",
            )
        else:
            root = Path(value)
    return root, roots


def settings(*, tasks: str | None, data: Sequence[str] | None, **fields: Any) -> dict[str, Any]:
    """Return fields of `RunConfig` by name; `None` for those that the user has not given."""
    root, roots = data_folders(data or [])
    names = None if tasks is None else [name.strip() for name in tasks.split(",") if name.strip()]
    return {"tasks": names, "data_root": root, "data": roots or None, **fields}
