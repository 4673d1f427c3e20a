"""Values of arguments and options, parsed the same way for every command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geovlm.api import Json
from geovlm.errors import ConfigError
from geovlm.plugins import described

DESCRIPTION = ".toml"
"""End of the name of a description of annotations, which is no folder."""


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


def offered(values: Sequence[str], *, alone: bool = False) -> list[Path]:
    """Return the descriptions of annotations among values of `--data`, and offer them as data sets.

    `NAME=FILE` takes a file in place of another that describes this data set. `alone`: the command
    takes nothing else.

    Raises:
        ConfigError: a file cannot be read, is no description, or describes another data set; its
            name is taken.
    """
    files = []
    for value in values:
        name, sign, named = value.partition("=")
        if alone and not value.endswith(DESCRIPTION):
            raise ConfigError(
                f"--data {value} is no description of annotations",
                hint="it takes a TOML file that begins with [dataset]",
            )
        if not value.endswith(DESCRIPTION):
            continue
        is_named = bool(sign) and not Path(value).exists()
        file = Path(named if is_named else value)
        (found,) = described.offer([file], known="replace" if is_named else "refuse")
        if is_named and found != name:
            raise ConfigError(
                f"--data {value}: the file describes {found!r}, not {name!r}",
                hint=f"give --data {named}, or change 'name' in the file",
            )
        files.append(file.expanduser().absolute())
    return files


def in_place_of_configuration(
    config: Path | None, data: Sequence[str] | None
) -> tuple[Path | None, list[str]]:
    """Return configuration and `--data`; a description that stands for the former goes to these."""
    values = list(data or [])
    if config is not None and config.suffix == DESCRIPTION and described.describes_data(config):
        return None, [*values, str(config)]
    return config, values


def data_folders(values: Sequence[str]) -> tuple[Path | None, dict[str, dict[str, str]]]:
    """Return the common data root, and the folders of single data sets.

    Raises:
        ConfigError: two common roots.
    """
    root: Path | None = None
    roots: dict[str, dict[str, str]] = {}
    for value in values:
        name, sign, folder = value.partition("=")
        if value.endswith(DESCRIPTION):
            continue
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


def answering(generation: str | None, url: str | None) -> dict[str, Any]:
    """Return the table `answering` of the options that the user has given."""
    given = {"generation": generation, "url": url}
    return {key: value for key, value in given.items() if value is not None}


def endpoint(base_url: str | None, api_key_env: str | None) -> dict[str, Any]:
    """Return the table `served` of the options that the user has given."""
    given = {"base_url": base_url, "api_key_env": api_key_env}
    return {key: value for key, value in given.items() if value is not None}


def settings(*, tasks: str | None, data: Sequence[str] | None, **fields: Any) -> dict[str, Any]:
    """Return fields of `RunConfig` by name; `None` for those that the user has not given.

    The descriptions among `data` are offered as data sets from here on, see `offered`.
    """
    root, roots = data_folders(data or [])
    files = offered(data or [])
    names = None if tasks is None else [name.strip() for name in tasks.split(",") if name.strip()]
    given = {"tasks": names, "data_root": root, "data": roots or None, "data_files": files or None}
    return given | fields
