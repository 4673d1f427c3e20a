"""The runs of a comparison: their folders, the stage of each, and names that tell them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geovlm.errors import ConfigError
from geovlm.report import tables
from geovlm.run import files
from geovlm.run.folder import RunDir

Record = Mapping[str, Any]
"""One line of `eval/<stage>/<task>.jsonl`."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run with the stage that is compared."""

    name: str
    """Name on the page; no two runs of a comparison have the same."""
    stage: str
    """An evaluated stage: `base`, `sft`, `grpo`, …"""
    directory: RunDir
    resolved: Mapping[str, Any]
    """Content of `resolved.json`."""
    metrics: Mapping[str, Any]
    """Content of `metrics.json`."""
    environment: Mapping[str, Any]
    """Content of `environment.json`; empty without one."""

    @property
    def tasks(self) -> dict[str, Mapping[str, Any]]:
        """Tasks that the stage was evaluated on, each with its entry of `metrics.json`."""
        found = self.metrics["tasks"].items()
        return {name: task for name, task in found if self.stage in task["stages"]}

    def entry(self, task: str) -> Mapping[str, Any]:
        """Return the stage's scores of one of its tasks."""
        found: Mapping[str, Any] = self.metrics["tasks"][task]["stages"][self.stage]
        return found

    def records(self, task: str) -> dict[str, Record]:
        """Return the stage's answers to a task by sample, in the order of the evaluation."""
        lines = files.JsonLines(self.directory.eval_file(task, self.stage)).read()
        return {line["sample_id"]: line for line in lines}


def read(words: Sequence[str], *, stage: str | None = None) -> list[Run]:
    """Return the runs named by `RUN` or `RUN:STAGE`, in order.

    Args:
        words: Folders of runs, each with its stage behind a colon where it is not to be `stage`.
        stage: The stage of all others; `None`: the last one that was evaluated.

    Raises:
        ConfigError: a folder is not a run folder or has no scores, a stage was not evaluated, or
            two words name the same.
    """
    chosen = [_chosen(word, stage) for word in words]
    twice = [each for i, each in enumerate(chosen) if each in chosen[:i]]
    if twice:
        path, of = twice[0]
        raise ConfigError(
            f"{path} is named twice with the stage {of!r}",
            hint=f"name two stages of a run as {path.name}:sft {path.name}:grpo",
        )
    return [
        Run(
            name=name,
            stage=of,
            directory=RunDir(path),
            resolved=RunDir(path).read_resolved(),
            metrics=RunDir(path).read_metrics(),
            environment=_environment(RunDir(path)),
        )
        for name, (path, of) in zip(_names(chosen), chosen, strict=True)
    ]


def _chosen(word: str, stage: str | None) -> tuple[Path, str]:
    """Return folder and stage of a word."""
    path = Path(word)
    before, colon, behind = word.rpartition(":")
    if colon and not path.exists():
        path, stage = Path(before), behind
    directory = RunDir(path.resolve())
    if not directory.is_run:
        raise ConfigError(
            f"{path} is not a run folder: it has no resolved.json",
            hint="give folders that 'geovlm run' or 'geovlm eval' wrote",
        )
    stages = tables.stage_names(directory.read_metrics())
    if not stages:
        raise ConfigError(f"{path} has no scores yet", hint="compare runs that are evaluated")
    if stage is not None and stage not in stages:
        raise ConfigError(
            f"{path} was not evaluated after {stage!r}", hint=f"it has {', '.join(stages)}"
        )
    return directory.path, stage or stages[-1]


def _names(chosen: Sequence[tuple[Path, str]]) -> list[str]:
    """Return the names of the folders, with as many folders above them as tell them apart.

    Stages of one run have their stage behind a colon.
    """
    folders = list(dict.fromkeys(path for path, _ in chosen))
    most = max(len(path.parts) for path in folders)
    depths = range(1, most + 1)
    depth = next(n for n in depths if len({path.parts[-n:] for path in folders}) == len(folders))
    several = {path for path, _ in chosen if sum(path == other for other, _ in chosen) > 1}
    return [
        "/".join(path.parts[-depth:]) + (f":{stage}" if path in several else "")
        for path, stage in chosen
    ]


def _environment(directory: RunDir) -> dict[str, Any]:
    return files.read_json(directory.environment) if directory.environment.is_file() else {}
