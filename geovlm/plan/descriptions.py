"""Keeps a copy of each description of annotations with the run that uses it.

A run can so be resumed, reported and exported from any folder, and a description that is edited
meanwhile does not change a run that is under way. A copy has the text of its original, and a table
`[copy]` that names it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from geovlm.errors import ConfigError
from geovlm.files import records, text
from geovlm.files.jsontext import dumps
from geovlm.plugins import described
from geovlm.plugins.annotations import description
from geovlm.run.files import write_text
from geovlm.run.folder import RunDir

if TYPE_CHECKING:
    from geovlm.plugins.registry import Registry


def keep(run: RunDir, registry: Registry, datasets: Iterable[str]) -> None:
    """Copy the descriptions of some data sets into the run, and offer the copies from here on."""
    for name in datasets:
        file = registry.plugin(name.partition("/")[0]).file
        if file is None or file == _copy(run, name):
            continue
        own = text.read_text(file)
        if "copy" not in records.parse_toml(own, file):
            comment = "# the description with which this run was started"
            own = f"{own.rstrip()}\n\n[copy]  {comment}\nof = {dumps(str(file))}\n"
        run.descriptions.mkdir(parents=True, exist_ok=True)
        write_text(_copy(run, name), own)
    adopt(run)


def adopt(run: RunDir, *, but: Iterable[str] = ()) -> None:
    """Offer the descriptions of a run in place of others of their names, except those of `but`."""
    left = frozenset(but)
    described.offer((f for f in _files(run) if f.stem not in left), known="replace")


def adopt_around(path: Path) -> None:
    """Offer the descriptions of the run that a path lies in, where no other has their name."""
    path = path.expanduser().absolute()
    for folder in (path, *path.parents):
        run = RunDir(folder)
        if run.is_run:
            described.offer(_files(run), known="keep")
            return


def changes(run: RunDir, *, but: Iterable[str] = ()) -> Iterator[str]:
    """Yield a line per description that has changed since the run was started."""
    for copy in _files(run):
        original = description.origin(records.read_toml(copy))
        if copy.stem in but or not original.is_file():
            continue
        before = description.read(copy)
        try:
            now = description.read(original)
        except ConfigError as error:
            keys = f"it cannot be read: {error.args[0]}"
        else:
            fields = [field.name for field in dataclasses.fields(before)]
            differ = [each for each in fields if getattr(before, each) != getattr(now, each)]
            keys = ", ".join(differ)
        if keys:
            yield (
                f"{original} has changed since the run was started ({keys}): the run goes on with "
                f"{copy}; --data {copy.stem}={original} takes the changed one"
            )


def _files(run: RunDir) -> list[Path]:
    return sorted(run.descriptions.glob("*.toml"))


def _copy(run: RunDir, name: str) -> Path:
    return run.descriptions / f"{name}.toml"
