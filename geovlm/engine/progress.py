"""Progress of a count of items on standard error, and of a trainer's steps in a meter."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from statistics import fmean
from typing import Any

import psutil
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from geovlm.run.files import JsonLines
from geovlm.run.status.meter import Meter

WINDOW = 5
"""Number of steps over which rewards are averaged."""


class Bar:
    """Progress of `total` items on standard error."""

    def __init__(self, title: str, *, total: int, done: int = 0) -> None:
        self._title, self._total, self._done = title, max(1, total), done
        self._console = Console(stderr=True)
        self._started = time.monotonic()
        self._tenth = 10 * done // self._total
        self._progress: Progress | None = None
        if self._console.is_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total}"),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=self._console,
            )
            self._progress.start()
            self._task = self._progress.add_task(title, total=self._total, completed=done)

    def advance(self, n: int) -> None:
        """Count `n` more items as done."""
        self._done += n
        if self._progress is not None:
            self._progress.update(self._task, completed=self._done)
            return
        tenth = 10 * self._done // self._total
        if tenth > self._tenth:
            self._tenth = tenth
            seconds = time.monotonic() - self._started
            line = f"{self._title}: {self._done}/{self._total} ({seconds:.0f} s)"
            self._console.print(line, markup=False, highlight=False)

    def close(self) -> None:
        """Leave the line as it is."""
        if self._progress is not None:
            self._progress.stop()


class ProgressCallback(TrainerCallback):
    """Counts a trainer's steps in a meter, with the loss or the rewards by task.

    Comes after the `LogCallback` that writes `log`.
    """

    def __init__(
        self, meter: Meter, *, log: JsonLines, weights: Mapping[str, Mapping[str, float]] | None
    ) -> None:
        """Note rewards by task with `weights`, task -> reward -> weight; without them, the loss."""
        self._meter = meter
        self._log = log
        self._weights = weights
        self._last: list[dict[str, float]] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Begin to count, from the step of the checkpoint on."""
        if not state.is_world_process_zero:
            return
        self._meter.begin("train", unit="step", total=state.max_steps, done=state.global_step)
        for record in self._log.read()[-WINDOW:] if state.global_step else ():
            self._note(record)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Count a step."""
        self._meter.advance(1)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Keep the rewards or the loss."""
        if state.is_world_process_zero and logs:
            self._note(logs)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """End the count, if the training was not stopped before its last step."""
        if state.global_step < state.max_steps:
            self._meter.say("stopping")
        else:
            self._meter.end(then="saving the model")

    def _note(self, logs: Mapping[str, Any]) -> None:
        if self._weights is None:
            if logs.get("loss") is not None:
                self._meter.note(loss=float(logs["loss"]))
            return
        if logs.get("reward") is None:  # the summary at the end of a training
            return
        found = task_rewards(logs, self._weights)
        if logs.get(_NO_SIGNAL) is not None:
            found[_NO_SIGNAL] = float(logs[_NO_SIGNAL])
        self._last = [*self._last, found][-50 * WINDOW :]
        series: dict[str, list[float]] = {}
        for each in self._last:
            for name, value in each.items():
                series.setdefault(name, []).append(value)
        shown = {
            name: {"last": round(values[-1], 4), "mean": round(fmean(values[-WINDOW:]), 4)}
            for name, values in series.items()
        }
        self._meter.note(no_signal=shown.pop(_NO_SIGNAL, None), rewards=shown)


_NO_SIGNAL = "frac_reward_zero_std"
"""Key of TRL's log: share of groups whose rewards are all equal."""


def task_rewards(
    logs: Mapping[str, Any], weights: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    """Return task -> weighted sum of its mean rewards in a record of TRL's log.

    Tasks without a completion in the step are left out.
    """
    found = {}
    for task, own in weights.items():
        values = {name: logs.get(f"rewards/{task}/{name}/mean") for name in own}
        known = {
            name: float(value)
            for name, value in values.items()
            if value is not None and math.isfinite(value)
        }
        if known:
            found[task] = sum(own[name] * value for name, value in known.items())
    return found


def memory() -> dict[str, float]:
    """Return GiB of memory: of this process, and of its GPU the most reserved so far and all."""
    found = {"process": psutil.Process().memory_info().rss / 2**30}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        found["gpu_peak"] = torch.cuda.max_memory_reserved() / 2**30
        found["gpu"] = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
        found["gpu"] /= 2**30
    return found
