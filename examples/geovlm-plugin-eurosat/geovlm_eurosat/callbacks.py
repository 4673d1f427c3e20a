"""Records how fast a stage was."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class Pace(TrainerCallback):
    """Writes `pace.json` into the stage's folder: `steps` of this process and their `seconds`."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "pace.json"
        self._first = 0
        self._started = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clock; a resumed stage begins at its checkpoint's step."""
        self._first, self._started = state.global_step, time.monotonic()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Write the file, on one process."""
        if state.is_world_process_zero:
            seconds = round(time.monotonic() - self._started, 3)
            pace = {"steps": state.global_step - self._first, "seconds": seconds}
            self._file.write_text(json.dumps(pace), encoding="utf-8")
