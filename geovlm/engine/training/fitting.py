"""Loads a model to train, trains it and writes what was trained, in the same way for all trainers.

Not the trainer itself, which `sft` and `grpo` build in between.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

from peft import LoraConfig
from transformers import PrinterCallback

from geovlm.engine.generation import generate
from geovlm.engine.models import adapters, load
from geovlm.engine.models.load import Loaded
from geovlm.engine.stage import Stage
from geovlm.engine.training import sharded
from geovlm.engine.training.callbacks import StopCallback
from geovlm.engine.training.checkpoints import to_resume
from geovlm.errors import StoppedError


class Begun(NamedTuple):
    """A model to train."""

    loaded: Loaded
    adapter: LoraConfig | None
    checkpoint: Path | None
    """The one to resume from."""


def begin(stage: Stage, *, start: str, resume: bool) -> Begun:
    """Load the model to train: the weights at `start`, or with `resume` the last whole checkpoint.

    With full fine-tuning the model is then built from the checkpoint's folder: the trainer's own
    loader does not match the saved names of Qwen2.5-VL and would go on from the initial weights.
    """
    stage.meter.say("loading the model")
    checkpoint = to_resume(stage.folder / "checkpoints") if resume else None
    full = stage.config.lora is None
    weights = str(checkpoint) if checkpoint is not None and full else start
    loaded = load.load(weights, stage.config, registry=stage.registry, to_train=True)
    for note in loaded.speedups.notes if stage.is_main else ():
        print(f"note: {note}", file=sys.stderr, flush=True)
    freeze = stage.settings.freeze_vision
    if freeze:
        load.freeze_vision(loaded.model, loaded.profile)
    adapter = adapters.of_run(
        stage.config, loaded.profile, model=loaded.model, freeze_vision=freeze
    )
    return Begun(loaded, adapter, checkpoint)


def finish(trainer: Any, stage: Stage, begun: Begun, *, start: str, stop: StopCallback) -> int:
    """Train, and write `model/`; return the number of steps.

    Raises:
        ConfigError: the adapters change nothing: with noise in them, the first row gives the same.
        StoppedError: the run is to stop, and a checkpoint is written.
    """
    load.skip_frozen_vision(begun.loaded.model, begun.loaded.profile)
    if begun.adapter is not None and begun.checkpoint is None:
        parts = stage.train_rows(begun.loaded.profile)
        row = next(rows[0] for rows in parts.values() if rows)
        inputs = generate.encode(begun.loaded.processor, [row], cache=stage.cache)
        adapters.check_effect(trainer.model, inputs.to(trainer.model.device))
    # the log has a file of its own; results go to standard output
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=str(begun.checkpoint) if begun.checkpoint else None)
    steps = int(trainer.state.max_steps)
    if stop.stopped:
        raise StoppedError(f"saved at step {trainer.state.global_step} of {steps}")
    processor = begun.loaded.processor
    if sharded.is_sharded(stage):
        sharded.save(trainer, stage, start=start, processor=processor)
    elif stage.is_main:
        whole = trainer.accelerator.unwrap_model(trainer.model)
        load.save(whole, processor, stage.folder / "model")
    trainer.accelerator.wait_for_everyone()
    return steps
