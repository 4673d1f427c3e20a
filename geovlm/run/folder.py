"""The folder of a run: the place of each file, reading and writing of scores.

```text
resolved.json      configuration, tasks, data folders, processes per stage
environment.json   versions, plugins, data checksums, prompt hashes
deduplicated.json  images and events that training omits, with `deduplicate`
descriptions/      copies of the descriptions of the user's own annotations
records/           records of the splits, while the run is at work
samples/           a picture of one sample per task, drawn before the run starts
stages/0-sft/      stderr.txt, log.jsonl, completions.jsonl, model/, done.json;
                   accelerate.yaml if the stage has several processes
eval/sft/          one <task>.jsonl per task, with / in the name written as __
served/            answers of a served model, by the content of their requests
machines/          on several machines: their heartbeats, 0.json, 1.json, …
metrics.json       scores per task and stage, the verdict, wall seconds per stage
status.json        what the run does at the moment, or how it ended
report.html
tracking/          with `track`: what each tracker has got and printed
tensorboard/, wandb/  files of these trackers
```
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geovlm.errors import ConfigError
from geovlm.files import jsontext
from geovlm.run.files import read_json, write_json, write_text

LOCK = ".lock"
"""Name of the file that the process at work in a run folder keeps locked."""
MACHINES = "machines"
"""Name of the folder with the heartbeats of a run's machines."""
CHECKPOINT_MANIFEST = "manifest.json"
"""Name of the file that makes a checkpoint valid; it is written last."""


@dataclass(frozen=True)
class RunDir:
    """A run folder; nothing is created before the first write."""

    path: Path

    @property
    def resolved(self) -> Path:
        """The resolved configuration."""
        return self.path / "resolved.json"

    @property
    def environment(self) -> Path:
        """Versions, plugins, data checksums, prompt hashes."""
        return self.path / "environment.json"

    @property
    def deduplicated(self) -> Path:
        """Samples that training omits because the evaluation has them too."""
        return self.path / "deduplicated.json"

    @property
    def descriptions(self) -> Path:
        """The folder with copies of the descriptions of annotations that the run uses."""
        return self.path / "descriptions"

    def records(self, dataset: str, split: str) -> Path:
        """Return the file with the records of a split, which is removed when the run stops."""
        return self.path / "records" / f"{dataset.replace('/', '__')}-{split}"

    @property
    def served(self) -> Path:
        """The folder with the answers of a served model, unless runs share one."""
        return self.path / "served"

    @property
    def samples(self) -> Path:
        """The folder with a picture of one sample per task."""
        return self.path / "samples"

    @property
    def metrics(self) -> Path:
        """All scores of the run."""
        return self.path / "metrics.json"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    @property
    def is_run(self) -> bool:
        """True if a run was started here."""
        return self.resolved.is_file()

    @property
    def has_progress(self) -> bool:
        """True if the folder holds a log, a checkpoint, a model, an answer or a score."""
        checkpoint = f"*/checkpoints/*/{CHECKPOINT_MANIFEST}"
        kept = ("*/log.jsonl", checkpoint, "*/model", "*/done.json", "*/answers/*.jsonl")
        found = any(any((self.path / "stages").glob(pattern)) for pattern in kept)
        answered = any((self.path / "eval").glob("*/answers/*.jsonl"))
        paid = any(self.served.glob("*.sqlite"))
        return found or answered or paid or self.metrics.is_file()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder against other processes until the context or this process ends.

        Raises:
            ConfigError: another process is at work here.
        """
        import fcntl  # not on Windows

        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / LOCK).open("a+", encoding="utf-8") as file:
            for again in range(4, -1, -1):  # `is_locked` of another process holds it for a moment
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if again:
                        time.sleep(0.02)
                        continue
                    file.seek(0)
                    raise ConfigError(
                        f"process {file.read().strip()} is at work in {self.path}",
                        hint="wait for it or stop it, or give another --output",
                    ) from error
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield

    @property
    def is_locked(self) -> bool:
        """True if a process is known to hold the lock; nothing is created or written.

        False also where the file system does not share locks between machines.
        """
        import fcntl  # not on Windows

        try:
            with (self.path / LOCK).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def stage(self, index: int) -> Path:
        """Return the folder of a stage by its position; `stages/eval` for -1."""
        if index == -1:
            return self.path / "stages" / "eval"
        folders: list[str] = self.read_resolved()["stage_folders"]
        return self.path / "stages" / folders[index]

    def is_done(self, index: int) -> bool:
        """Return True if a stage is finished: `done.json` is written last."""
        return (self.stage(index) / "done.json").is_file()

    def has_model(self, index: int) -> bool:
        """Return True if a stage has written its model."""
        folders: list[str] = self.read_resolved()["stage_folders"]
        return index < len(folders) and (self.stage(index) / "model").is_dir()

    def eval_file(self, task: str, stage: str) -> Path:
        """Return the file of one task's scored answers after a stage (`base`, `sft`, `grpo`)."""
        return self.path / "eval" / stage / f"{task.replace('/', '__')}.jsonl"

    def answers(self, stage: str) -> Path:
        """Return the folder of answers during an evaluation; it is removed afterwards."""
        return self.path / "eval" / stage / "answers"

    def read_resolved(self) -> dict[str, Any]:
        """Return `resolved.json`.

        Raises:
            ConfigError: the folder is not a run.
        """
        if not self.is_run:
            raise ConfigError(
                f"{self.path} is not a run folder: it has no resolved.json",
                hint="give the folder that 'geovlm run' wrote",
            )
        return read_json(self.resolved)

    def read_checksum(self, dataset: str, split: str) -> str | None:
        """Return the SHA-256 of a split's records when the run was planned; `None` if unknown."""
        if not self.environment.is_file():
            return None
        planned = read_json(self.environment).get("data", {}).get(dataset, {})
        found: str | None = planned.get("splits", {}).get(split, {}).get("sha256")
        return found

    def read_metrics(self) -> dict[str, Any]:
        """Return `metrics.json`; without it, a record without scores."""
        if not self.metrics.is_file():
            return {"tasks": {}, "seconds": {}}
        return read_json(self.metrics)

    def has_metrics(self, task: str, stage: str) -> bool:
        """Return True if the task was scored after the stage."""
        return stage in self.read_metrics()["tasks"].get(task, {}).get("stages", {})

    def latest_stage(self, task: str) -> str | None:
        """Return the last stage after which the task was scored, or `None`."""
        stages = self.read_metrics()["tasks"].get(task, {}).get("stages", {})
        return next(reversed(stages), None)

    def write_metrics(
        self,
        task: str,
        stage: str,
        *,
        primary: str,
        entry: Mapping[str, Any],
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Add the scores of one task after one stage; earlier ones of this pair are replaced.

        So are `more` entries of the task, such as `blind`, `choices` (orders of choices), `probes`
        and `higher_is_better`.
        """
        metrics = self.read_metrics()
        own = metrics["tasks"].setdefault(task, {"primary": primary, "stages": {}})
        own["stages"][stage] = dict(entry)
        own.update(more or {})
        write_json(self.metrics, metrics)

    def write_across_tasks(self, key: str, stage: str, entry: Mapping[str, Any]) -> None:
        """Add what a stage did over all tasks, under a key such as `sampled` or `signal`."""
        metrics = self.read_metrics()
        metrics.setdefault(key, {})[stage] = dict(entry)
        write_json(self.metrics, metrics)

    def write_verdict(self, verdict: Mapping[str, Any]) -> None:
        """Add what the scores show, or replace it."""
        write_json(self.metrics, {**self.read_metrics(), "verdict": verdict})

    def add_seconds(self, stage: str, seconds: float) -> None:
        """Add wall time to a stage; the parts of an interrupted stage add up."""
        metrics = self.read_metrics()
        before = metrics["seconds"].get(stage, 0.0)
        metrics["seconds"][stage] = round(before + seconds, 1)
        write_json(self.metrics, metrics)

    def write_eval(self, task: str, stage: str, records: Iterable[Mapping[str, Any]]) -> None:
        """Write the scored answers of one task, one JSON object per line."""
        write_text(self.eval_file(task, stage), jsontext.lines(records))


def default_output(task_names: Sequence[str], *, parent: Path = Path("runs")) -> Path:
    """Return `runs/<tasks joined by _>`, with -2, -3, … if that exists."""
    return _series(task_names, parent=parent)[-1]


def first_output(task_names: Sequence[str], *, parent: Path = Path("runs")) -> Path:
    """Return `runs/<tasks joined by _>`, which may exist."""
    return _series(task_names, parent=parent)[0]


def latest_output(task_names: Sequence[str], *, parent: Path = Path("runs")) -> Path | None:
    """Return the newest existing folder of the names of `default_output`, or `None`."""
    taken = _series(task_names, parent=parent)[:-1]
    return taken[-1] if taken else None


def _series(task_names: Sequence[str], *, parent: Path) -> list[Path]:
    """Return the existing folders in order, then the first free name."""
    base = "_".join(name.replace("/", "-") for name in task_names)[:120] or "run"
    series = [parent / base]
    while series[-1].exists():
        series.append(parent / f"{base}-{len(series) + 1}")
    return series
