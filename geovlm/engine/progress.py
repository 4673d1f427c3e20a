"""Progress on standard error: of a count of items, and of a trainer's steps."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


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
                TextColumn("{task.completed}/{task.total} {task.fields[note]}"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._progress.start()
            self._task = self._progress.add_task(title, total=self._total, completed=done, note="")

    def advance(self, n: int, *, note: str = "") -> None:
        """Count `n` more items as done."""
        self._done += n
        if self._progress is not None:
            self._progress.update(self._task, completed=self._done, note=note)
            return
        tenth = 10 * self._done // self._total
        if tenth > self._tenth:
            self._tenth = tenth
            seconds = time.monotonic() - self._started
            line = f"{self._title}: {self._done}/{self._total} {note} ({seconds:.0f} s)"
            self._console.print(line, markup=False, highlight=False)

    def close(self) -> None:
        """Leave the line as it is."""
        if self._progress is not None:
            self._progress.stop()


class ProgressCallback(TrainerCallback):
    """Shows a progress bar on a terminal, elsewhere a plain line every tenth of the way."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._bar: Bar | None = None
        self._note = ""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the bar."""
        if state.is_world_process_zero:
            self._bar = Bar(self._title, total=state.max_steps, done=state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.advance(1, note=self._note)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Keep the reward or the loss for the next line."""
        for key in ("reward", "loss"):
            if logs and key in logs:
                self._note = f"{key} {float(logs[key]):.3f}"
                return

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
