"""Trainer callbacks that write the log and apply the health rules."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from geovlm.config import health
from geovlm.config.health import HealthConfig
from geovlm.engine.training import checkpoints
from geovlm.errors import RunFailedError
from geovlm.run.folder import write_text


class JsonLines:
    """A file of one JSON object per line, cut back to a step on resume."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def cut(self, *, after_step: int) -> None:
        """Drop the lines of later steps: the run is about to do them again."""
        if not self._path.exists():
            return
        kept = []
        for line in self._path.read_text().splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                break  # the last line of a killed process
            if record["step"] <= after_step:
                kept.append(line)
        write_text(self._path, "".join(f"{line}\n" for line in kept))

    def read(self) -> list[dict[str, Any]]:
        """Return the records, without a torn last line; none if there is no file."""
        if not self._path.exists():
            return []
        records = []
        for line in self._path.read_text().splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return records

    def write(self, records: list[dict[str, Any]]) -> None:
        """Append; numbers that are not finite become null, as JSON has none."""
        with self._path.open("a") as file:
            for record in records:
                file.write(json.dumps(_finite(record)) + "\n")


class LogCallback(TrainerCallback):
    """Writes the trainer's logs to `log.jsonl`, one line per logging step."""

    def __init__(self, lines: JsonLines, *, completions: JsonLines | None = None) -> None:
        self._lines = lines
        self._completions = completions

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Forget what a killed process logged after the checkpoint."""
        if state.is_world_process_zero:
            self._lines.cut(after_step=state.global_step)
            if self._completions is not None:
                # completions carry the step before the update
                self._completions.cut(after_step=state.global_step - 1)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Append what was logged."""
        if state.is_world_process_zero and logs:
            self._lines.write([{"step": state.global_step, **logs}])


class HealthCallback(TrainerCallback):
    """Applies the rules of `geovlm.config.health` to GRPO's log: each speaks once, or ends the run.

    Comes after the `LogCallback` that writes `log`. What was found is written to `findings`.
    """

    def __init__(
        self,
        settings: HealthConfig,
        *,
        rewards: health.RewardSets,
        log: JsonLines,
        findings: JsonLines,
        checkpoints: Path,
        start: str,
    ) -> None:
        """Watch a stage.

        Args:
            settings: `[health]`.
            rewards: of the stage's tasks.
            log: where the stage is logged.
            findings: where broken rules are written.
            checkpoints: the folder of the stage's checkpoints.
            start: the weights that the stage began with.
        """
        self._settings = settings
        self._rewards = rewards
        self._log = log
        self._findings = findings
        self._checkpoints = checkpoints
        self._start = start
        self._records: list[dict[str, Any]] = []
        self._said: set[str] = set()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Go on from the records of the checkpoint."""
        if state.is_world_process_zero:
            self._findings.cut(after_step=state.global_step)
            self._said = {finding["rule"] for finding in self._findings.read()}
            self._records = [record for record in self._log.read() if "reward" in record]

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Check every rule that has not spoken yet.

        Raises:
            RunFailedError: a rule is broken that is configured to stop the run.
        """
        if not state.is_world_process_zero or not logs or "reward" not in logs:
            return
        self._records.append(_finite({"step": state.global_step, **logs}))
        found = health.check(
            self._records, rewards=self._rewards, limits=self._settings.thresholds()
        )
        for finding in found:
            stops = self._settings.actions()[finding.rule] == "stop"
            if finding.rule not in self._said:
                self._said.add(finding.rule)
                self._findings.write([dataclasses.asdict(finding)])
                if not stops:
                    print(f"warning: health: {finding}", file=sys.stderr, flush=True)
            if stops:
                good = checkpoints.find(self._checkpoints, before_step=finding.since).last
                kept = f"the last good checkpoint is {good}"
                if good is None:
                    kept = f"no checkpoint is older than that, the stage began with {self._start}"
                raise RunFailedError(
                    f"health: {finding.rule} at step {finding.step}: {finding.figures}; {kept}",
                    hint=f"{finding.advice}; health.{finding.rule}='warn' only warns",
                )


def _finite(value: Any) -> Any:
    """Return the value with every number that is not finite replaced by `None`."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
