"""Supervised fine-tuning on the mixture, every target in its tags: TRL's `SFTTrainer`."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any

from datasets import Dataset
from peft import LoraConfig
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer

from geovlm.engine.models import load, structure
from geovlm.engine.models.load import Loaded
from geovlm.engine.progress import ProgressCallback
from geovlm.engine.rows.rows import Picked, dataset
from geovlm.engine.rows.tokens import control_tokens
from geovlm.engine.stage import Stage
from geovlm.engine.training import fitting
from geovlm.engine.training.callbacks import LogCallback, StopCallback
from geovlm.engine.training.checkpoints import CheckpointCallback
from geovlm.run.files import JsonLines


def arguments(stage: Stage, *, max_steps: int, on_cpu: bool) -> SFTConfig:
    """Return the trainer's arguments: the engine's, under those of the configuration."""
    merged: dict[str, Any] = {
        **stage.trl_arguments(on_cpu=on_cpu),
        "max_steps": max_steps,
        "logging_steps": 5,
        "save_steps": max(1, max_steps // 4),
        "save_total_limit": 2,
        "max_length": None,  # a prompt is never truncated
        "bf16": not on_cpu,
        **stage.settings.trainer,
    }
    return SFTConfig(**stage.spread(merged))


def plan(
    stage: Stage, parts: Mapping[str, Sized], *, on_cpu: bool
) -> tuple[list[tuple[str, int]], int]:
    """Return the (task, row number) pairs of all steps, and the number of steps."""
    args = arguments(stage, max_steps=1, on_cpu=on_cpu)
    per_step = (
        args.per_device_train_batch_size * args.gradient_accumulation_steps * stage.world_size
    )
    n_steps = stage.settings.n_steps(rows=sum(map(len, parts.values())), per_step=per_step)
    return stage.plan(parts, n=n_steps * per_step), n_steps


def train(stage: Stage, *, start: str, resume: bool) -> int:
    """Train from the weights at `start` and write `model/`; return the number of steps.

    With `resume` it continues from the last whole checkpoint.

    Raises:
        StoppedError: the run is to stop, and a checkpoint is written.
    """
    begun = fitting.begin(stage, start=start, resume=resume)
    loaded = begun.loaded
    parts = stage.train_rows(loaded.profile)
    on_cpu = load.device(stage.config) == "cpu"
    picks, n_steps = plan(stage, parts, on_cpu=on_cpu)
    args = arguments(stage, max_steps=n_steps, on_cpu=on_cpu)
    keep, args.save_total_limit = args.save_total_limit, None  # `CheckpointCallback` deletes
    stop = StopCallback(stage.stop)
    log = JsonLines(stage.folder / "log.jsonl")
    built = trainer(
        loaded,
        rows=dataset(
            Picked(parts, picks),
            cache=stage.cache,
            tokens=control_tokens(loaded.processor),
            chat=loaded.chat,
        ),
        args=args,
        adapter=begun.adapter,
        callbacks=[
            LogCallback(log),
            CheckpointCallback(keep=keep, resumed=begun.checkpoint),
            stop,
            ProgressCallback(stage.meter, log=log, weights=None),
            *stage.registry.callbacks(stage.info()),
        ],
    )
    return fitting.finish(built, stage, begun, start=start, stop=stop)


def trainer(
    loaded: Loaded,
    *,
    rows: Dataset,
    args: SFTConfig,
    adapter: LoraConfig | None,
    callbacks: list[TrainerCallback],
) -> SFTTrainer:
    """Return TRL's trainer of this stage."""
    text = loaded.model.config.get_text_config()
    own = getattr(text, "router_aux_loss_coef", None)
    built = SFTTrainer(
        model=loaded.model,
        args=args,
        train_dataset=rows,
        processing_class=loaded.processor,
        peft_config=adapter,
        callbacks=callbacks,
    )
    # TRL divides the loss by the tokens of all ranks and accumulated batches if the model takes
    # their number; models of images declare that theirs does not, and each batch would have the
    # same weight, however many tokens it has
    built.model_accepts_loss_kwargs = True
    # TRL keeps its coefficient of the routers' loss in the model's config too, which is saved
    structure.drop_router_logits(loaded.model)
    if own is not None:
        text.router_aux_loss_coef = own
    return built
