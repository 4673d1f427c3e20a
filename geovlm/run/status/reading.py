"""Reads `status.json` of a run, and says of another folder what it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from geovlm.errors import ConfigError
from geovlm.run.folder import LOCK, MACHINES, RunDir

FILE = "status.json"
"""Name of the file in the folder of a run."""
VERSION = 1
"""Version of the file; a record of another one is not read."""


def read(run: RunDir) -> dict[str, Any]:
    """Return the record of a run.

    Raises:
        ConfigError: the folder has none; says if it holds no run, one that has not started, or one
            of another version.
    """
    found = _load(run.path / FILE)
    if found is None:
        raise _absent(run)
    if found.get("version") != VERSION:
        raise ConfigError(
            f"{run.path / FILE} is of another version of GeoVLM",
            hint="watch the run with the version that started it",
        )
    return found


def before(run: RunDir) -> dict[str, Any]:
    """Return the record of an earlier attempt at a run; empty if there is none to go on from."""
    found = _load(run.path / FILE)
    return found if found is not None and found.get("version") == VERSION else {}


def _load(path: Path) -> dict[str, Any] | None:
    """Return the record; `None` if there is no file, or a damaged one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _absent(run: RunDir) -> ConfigError:
    """Return why a folder has no record."""
    path = run.path
    if not path.exists():
        return ConfigError(
            f"{path} does not exist", hint="the run has not started, or lies elsewhere"
        )
    if not path.is_dir():
        return ConfigError(f"{path} is a file", hint="give the folder of a run")
    if (path / FILE).exists():
        return ConfigError(
            f"{path / FILE} cannot be read", hint="may you read it? was it edited by hand?"
        )
    if run.is_run and run.has_progress:
        return ConfigError(
            f"{path} has no {FILE}: an earlier version of GeoVLM wrote this run",
            hint=f"'geovlm report {path}' shows what it has done; resumed, it writes one",
        )
    if run.is_run:
        return ConfigError(f"the run in {path} is planned and has not started yet")
    known = (LOCK, MACHINES, run.samples.name)
    if all(each.name in known for each in path.iterdir()):
        return ConfigError(f"the run in {path} has not started yet")
    return ConfigError(
        f"{path} is not a run folder: it has no resolved.json",
        hint="give the folder that 'geovlm run' wrote",
    )
