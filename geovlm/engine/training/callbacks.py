"""Trainer callbacks that write the log, apply the health rules and stop on request."""

from __future__ import annotations

import sys
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from geovlm.config import health
from geovlm.config.health import HealthConfig
from geovlm.engine.stopping import Stop
from geovlm.engine.training import checkpoints
from geovlm.errors import RunFailedError
from geovlm.files.jsontext import finite
from geovlm.run.files import JsonLines


@dataclass(eq=False)
class LogCallback(TrainerCallback):
    """Writes the trainer's logs to `log.jsonl`, one line per logging step."""

    lines: JsonLines
    completions: JsonLines | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Remove what a killed process logged after the checkpoint."""
        if state.is_world_process_zero:
            self.lines.cut(after_step=state.global_step)
            if self.completions is not None:
                # completions carry the step before the update
                self.completions.cut(after_step=state.global_step - 1)

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
            self.lines.append([{"step": state.global_step, **logs}])


@dataclass(eq=False)
class StopCallback(TrainerCallback):
    """Ends the training with a checkpoint after the step in which the request came."""

    stop: Stop
    every: int = 1
    """Stops after multiples of so many steps only, so that all completions are trained on."""
    stopped: bool = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Stop if any rank has a request."""
        if state.global_step % self.every == 0 and self.stop.agreed():
            control.should_save = True
            control.should_training_stop = True
            self.stopped = state.global_step < state.max_steps


@dataclass(eq=False)
class HealthCallback(TrainerCallback):
    """Applies the rules of `geovlm.config.health` to GRPO's log: each warns once, or ends the run.

    Comes after the `LogCallback` that writes `log`. Broken rules are written to `findings`.
    """

    settings: HealthConfig
    _: KW_ONLY
    rewards: health.RewardSets
    log: JsonLines
    findings: JsonLines
    checkpoints: Path
    start: str
    """The weights that the stage began with."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Go on from the records of the checkpoint."""
        if state.is_world_process_zero:
            self.findings.cut(after_step=state.global_step)
            self._reported = {finding["rule"] for finding in self.findings.read()}
            self._records = [record for record in self.log.read() if "reward" in record]

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Check every rule that was not reported yet.

        Raises:
            RunFailedError: a rule is broken that is configured to stop the run.
        """
        if not state.is_world_process_zero or not logs or "reward" not in logs:
            return
        self._records.append(finite({"step": state.global_step, **logs}))
        limits = self.settings.thresholds()
        for finding in health.check(self._records, rewards=self.rewards, limits=limits):
            stops = self.settings.actions()[finding.rule] == "stop"
            if finding.rule not in self._reported:
                self._reported.add(finding.rule)
                self.findings.append([asdict(finding)])
                if not stops:
                    print(f"warning: health: {finding}", file=sys.stderr, flush=True)
            if stops:
                good = checkpoints.find(self.checkpoints, before_step=finding.since).last
                kept = f"the last good checkpoint is {good}"
                if good is None:
                    kept = f"no checkpoint is older than that, the stage began with {self.start}"
                raise RunFailedError(
                    f"health: {finding.rule} at step {finding.step}: {finding.figures}; {kept}",
                    hint=f"{finding.advice}; health.{finding.rule}='warn' only warns",
                )
