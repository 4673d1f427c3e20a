"""Starts the trials of a run in one process of the engine, and remembers those that went well.

The process takes ten seconds, most of it to import TRL. So a success is kept until what it depends
on changes; a failure is not kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from geovlm import __version__
from geovlm.errors import ConfigError
from geovlm.files.caches import cache_dir
from geovlm.run import files, launch


class Trial(NamedTuple):
    """One thing to try."""

    name: str
    """Key of its request for `geovlm.engine.programs.trials`."""
    request: dict[str, Any]
    depends: Sequence[Any]
    """JSON values: a trial that went well goes well again while they stay as they are."""

    @property
    def marker(self) -> Path:
        """Empty file that is there once the trial went well."""
        parts = [__version__, sys.executable, sorted(_installed()), *self.depends]
        key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return markers() / self.name / key


def check(trials: Sequence[Trial], *, on_cpu: bool) -> None:
    """Refuse a run of which a trial finds problems.

    Raises:
        ConfigError: all problems, one line each.
    """
    left = [(each, each.marker) for each in trials]
    left = [(each, marker) for each, marker in left if not marker.is_file()]
    if not left:
        return
    print("trying prompts and trainers of all stages", file=sys.stderr, flush=True)
    found = run([each for each, _ in left], on_cpu=on_cpu).problems
    for each, marker in left:
        if not found[each.name]:
            with contextlib.suppress(OSError):  # without a cache the next trial takes its time
                files.write_text(marker, "", sync=False)
    problems = [problem for each, _ in left for problem in found[each.name]]
    if problems:
        raise ConfigError("\n       ".join(problems))


class Found(NamedTuple):
    """Problems and rows that a process of trials wrote."""

    problems: Mapping[str, list[str]]
    """Name of a trial -> its problems, one line each."""
    shown: Mapping[str, Any]
    """Rows of the preflight; empty if they were not asked for or cannot be built."""


def run(trials: Sequence[Trial], *, on_cpu: bool, **also: Any) -> Found:
    """Do trials in a process of the engine, whatever is remembered.

    `also` are further keys of the request, see `geovlm.engine.programs.trials`.
    """
    requests = {each.name: each.request for each in trials}
    with tempfile.TemporaryDirectory(prefix="geovlm-trial-") as scratch:
        folder = Path(scratch)
        files.write_json(folder / "request.json", {**requests, **also})
        words = ("--request", str(folder / "request.json"))
        launch.start("trials", *words, folder=folder, on_cpu=on_cpu)
        shown = folder / "shown.json"
        return Found(
            files.read_json(folder / "found.json"),
            files.read_json(shown) if shown.is_file() else {},
        )


def markers() -> Path:
    """Return the folder with an empty file for each trial that went well."""
    return cache_dir() / "trials"


def _installed() -> Iterator[str]:
    """Yield the names of the metadata of all installed packages, versions included."""
    for folder in dict.fromkeys(sys.path):
        with contextlib.suppress(OSError):
            for path in Path(folder).iterdir():
                if path.name.endswith((".dist-info", ".egg-info", ".egg-link")):
                    yield path.name
