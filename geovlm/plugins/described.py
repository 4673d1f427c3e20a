"""Keeps the list of descriptions of annotations that this process offers as data sets.

A description is a TOML file that begins with a table `[dataset]`. The list is in the environment,
because the stages of a run are separate processes and must have the same data sets.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from geovlm.errors import ConfigError
from geovlm.plugins import installed

FILES_VARIABLE = "GEOVLM_DATA_FILES"
"""Environment variable: descriptions of annotations, separated as in PATH."""


def files_of_user() -> tuple[Path, ...]:
    """Return the descriptions of annotations that this process offers as data sets, absolute.

    They are those of `GEOVLM_DATA_FILES`; where it is not set, the files `*.toml` of the working
    folder that begin with a table `[dataset]`.
    """
    listed = os.environ.get(FILES_VARIABLE)
    if listed is not None:
        return tuple(Path(name).absolute() for name in listed.split(os.pathsep) if name)
    return tuple(path for path in sorted(Path.cwd().glob("*.toml")) if describes_data(path))


def describes_data(path: Path) -> bool:
    """Return True for a file whose first line, after comments, is `[dataset]`."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            lines = (line.strip() for line in file)
            first = next((line for line in lines if line and line[0] != "#"), "")
            return first.partition("#")[0].strip() == "[dataset]"
    except (OSError, UnicodeDecodeError):
        return False


def offer(
    files: Iterable[Path], *, known: Literal["refuse", "replace", "keep"] = "refuse"
) -> tuple[str, ...]:
    """Offer more descriptions, in this process and in those that it starts; returns their names.

    Args:
        files: the descriptions.
        known: what to do where another file describes a data set of the same name: refuse it,
            take the new file in its place, or keep the other.

    Raises:
        ConfigError: a file cannot be read, or is no description; its name is that of an installed
            plugin or of another description.
    """
    from geovlm.plugins.annotations import description

    files = [Path(os.path.normpath(file.expanduser().absolute())) for file in files]
    if not files:
        return ()
    listed = {_name(file): file for file in reversed(files_of_user())}
    given: dict[str, Path] = {}
    for file in files:
        name = description.read(file).name
        other = given.get(name) or (listed.get(name) if known == "refuse" else None)
        if other is not None and other.resolve() != file.resolve():
            raise ConfigError(
                f"two files describe a data set {name!r}: {other} and {file}",
                hint=f"--data {name}=FILE takes one of them, or change its 'name'",
            )
        _refuse_plugin(name, file)
        given[name] = file
    kept = {**given, **listed} if known == "keep" else {**listed, **given}
    os.environ[FILES_VARIABLE] = os.pathsep.join(str(file) for file in kept.values())
    return tuple(given)


def _name(file: Path) -> str:
    """Return the name of the data set that a file describes; its path if it is broken."""
    from geovlm.plugins.annotations import description

    try:
        return description.read(file).name
    except ConfigError:
        return str(file)


def _refuse_plugin(name: str, file: Path) -> None:
    if any(plugin.entry.name == name for plugin in installed.find(group=installed.GROUP).plugins):
        raise ConfigError(
            f"{file}: the name {name!r} is that of an installed plugin",
            hint="change 'name' in the file",
        )
