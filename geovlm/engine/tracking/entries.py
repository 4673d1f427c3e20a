"""Reads the files of a run as entries of a tracker: names, values, and one axis of steps.

Steps count on over the stages that train: after an SFT of 150 steps, step 3 of GRPO is 153. An
evaluation has the step at which its model was trained, the base model 0, a probe the step before
it. Entries come in the order of their steps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from geovlm.config.schema import RunConfig
from geovlm.plugins import registry
from geovlm.rewards.scoring import format_rewards
from geovlm.run.files import read_json
from geovlm.run.folder import RunDir

BASE = "base"
"""Name of the evaluation before the first stage."""
Weights = Mapping[str, Mapping[str, float]]
"""Task -> reward that trains -> weight."""


class Entry(NamedTuple):
    """Values of one step."""

    source: str
    """The file and the part of it that the values come from."""
    at: tuple[int, int]
    """Step of the source, and the number of the record among those of this step."""
    step: int
    """Step of the run."""
    values: dict[str, float]


class Log:
    """A growing `log.jsonl`, of which every byte is read once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: tuple[int, int] = (0, 0)
        self._records: list[dict[str, Any]] = []

    def read(self) -> Sequence[Mapping[str, Any]]:
        """Return all whole records; a file that was cut or replaced is read from its beginning."""
        try:
            facts = self._path.stat()
        except FileNotFoundError:
            return ()
        inode, offset = self._file
        if facts.st_ino != inode or facts.st_size < offset:
            self._records, offset = [], 0
        if facts.st_size > offset:
            with self._path.open("rb") as file:
                file.seek(offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._records.append(json.loads(line))
                    offset += len(line)
        self._file = (facts.st_ino, offset)
        return self._records


class Entries:
    """The entries of a run, read again and again while it goes on."""

    def __init__(self, run: RunDir) -> None:
        """Read the plan of the run."""
        resolved = run.read_resolved()
        self._run = run
        self._config = RunConfig.model_validate(resolved["config"])
        self._tasks: list[str] = resolved["task_names"]
        self._weights = reward_weights(self._config, self._tasks)
        self._logs = {
            index: Log(run.stage(index) / "log.jsonl") for index in range(len(self._config.stages))
        }

    def all(self) -> Iterator[Entry]:
        """Yield all entries of what the run has written so far."""
        metrics = self._run.read_metrics()  # before the logs, which are complete by then
        yield from _evaluations(metrics, BASE, step=0)
        before = 0
        for index, stage in enumerate(self._config.stages):
            folder = self._run.stage(index)
            if stage.kind == "probe":
                yield from _probe(folder, step=before)
                continue
            name = self._config.evaluation_name(index)
            step = number = 0
            for record in self._logs[index].read():
                number = number + 1 if record["step"] == step else 1
                step = int(record["step"])
                values = training(record, name=name, kind=stage.kind, weights=self._weights)
                yield Entry(folder.name, (step, number), before + step, values)
            done = folder / "done.json"
            before += max(step, int(read_json(done)["steps"]) if done.is_file() else 0)
            yield from _evaluations(metrics, name, step=before)

    def last_evaluation(self) -> str | None:
        """Return the name of the run's last evaluation if all tasks have it, else `None`."""
        trained = [i for i, stage in enumerate(self._config.stages) if stage.kind != "probe"]
        name = self._config.evaluation_name(trained[-1]) if trained else BASE
        whole = all(self._run.has_metrics(task, name) for task in self._tasks)
        return name if whole else None


def reward_weights(config: RunConfig, tasks: Sequence[str]) -> Weights:
    """Return the rewards that train each task, the format's included, with their weights."""
    known = registry.load().tasks
    return {
        task: {**format_rewards(known[task]), **known[task].rewards[config.rewards]}
        for task in tasks
        if task in known
    }


def training(
    record: Mapping[str, Any], *, name: str, kind: str, weights: Weights
) -> dict[str, float]:
    """Return the values of one record of `log.jsonl`, under the name of the stage's model.

    For GRPO also the mean total reward of each task of the step, and the share of groups with
    different rewards, which alone teach.
    """
    values = {f"{name}/{key}": value for key, value in record.items() if key != "step"}
    if kind == "grpo" and record.get("reward") is not None:
        for task, rewards in weights.items():
            means = [(record.get(f"rewards/{task}/{each}/mean"), w) for each, w in rewards.items()]
            known = [mean * weight for mean, weight in means if mean is not None]
            if known:
                values[f"{name}/reward/{task}"] = sum(known)
        flat = record.get("frac_reward_zero_std")
        values[f"{name}/signal"] = None if flat is None else 1.0 - flat
    return numbers(values)


def evaluation(entry: Mapping[str, Any], *, task: str) -> dict[str, float]:
    """Return the values of one task's entry of `metrics.json` after one stage."""
    values: dict[str, Any] = {}
    for metric, value in entry["metrics"].items():
        values[f"eval/{task}/{metric}"] = value
        low, high = entry.get("ci95", {}).get(metric) or (None, None)
        values[f"eval/{task}/{metric}_low"] = low
        values[f"eval/{task}/{metric}_high"] = high
    for key in ("sampled_reward", "greedy_reward", "n"):
        values[f"eval/{task}/{key}"] = entry.get(key)
    return numbers(values)


def blind(baselines: Mapping[str, Any], *, task: str, name: str) -> dict[str, float]:
    """Return the scores of a task's blind baselines that belong to one evaluation."""
    return numbers(
        {
            f"blind/{task}/{baseline}/{metric}": value
            for baseline, each in baselines.items()
            if isinstance(each, Mapping) and each.get("stage") == name
            for metric, value in each.get("metrics", {}).items()
        }
    )


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers among values, as floats."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def _evaluations(metrics: Mapping[str, Any], name: str, *, step: int) -> Iterator[Entry]:
    for task, own in metrics["tasks"].items():
        if name in own["stages"]:
            values = evaluation(own["stages"][name], task=task)
            values |= blind(own.get("blind", {}), task=task, name=name)
            yield Entry(f"eval/{name}/{task}", (0, 1), step, values)


def _probe(folder: Path, *, step: int) -> Iterator[Entry]:
    path = folder / "probe.json"
    if not path.is_file():
        return
    found = read_json(path)
    values: dict[str, Any] = {
        f"probe/{task}/{key}": each.get(key)
        for task, each in found["tasks"].items()
        for key in ("reward", "format_rate", "flat_share", "cut_share")
    }
    values |= {f"probe/{key}": found.get(key) for key in ("kept", "dropped")}
    yield Entry(folder.name, (0, 1), step, numbers(values))
