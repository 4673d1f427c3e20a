"""Saves models that are sharded over processes (FSDP2, ZeRO-3) as whole models.

Tested on one GPU, not on several; on the CPU accelerate does not shard. Ranks whose completions
differ in length generate in step: transformers detects shards and sets `synced_gpus`.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import get_peft_model
from transformers.integrations import unset_hf_deepspeed_config

from geovlm.engine.models import adapters, load
from geovlm.engine.stage import Stage
from geovlm.run import parallel


def is_sharded(stage: Stage) -> bool:
    """Return True if no process of the stage holds all weights."""
    return parallel.shards(stage.config.scheme(stage.index))


def save(trainer: Any, stage: Stage, *, start: str, processor: Any) -> None:
    """Gather the trained weights on the main process and write them as a whole model.

    All processes have to call it. The weights go into a model on the CPU that is loaded from
    `start`, with the run's adapter if it has one, so that adapters are merged as usual.
    """
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    release()
    if stage.is_main:
        whole = load.load(start, stage.config, registry=stage.registry, place="cpu")
        freeze = stage.settings.freeze_vision
        adapter = adapters.of_run(
            stage.config, whole.profile, model=whole.model, freeze_vision=freeze
        )
        target = whole.model if adapter is None else get_peft_model(whole.model, adapter)
        fill(target, state)
        load.save(target, processor, stage.folder / "model")


def fill(target: Any, state: dict[str, torch.Tensor]) -> None:
    """Copy weights into a whole model, in its own precision.

    Raises:
        RuntimeError: a trained weight is missing or unknown: no weight may stay as it was.
    """
    missing, unknown = target.load_state_dict(state, strict=False)
    tied = set(getattr(target, "all_tied_weights_keys", None) or ())
    # ZeRO-3 leaves out weights that it did not train, such as those below an adapter
    trained = {name for name, weight in target.named_parameters() if weight.requires_grad}
    lost = [name for name in missing if name in trained and name not in tied]
    if lost or unknown:
        raise RuntimeError(f"gathered weights do not fit: missing {lost}, unknown {unknown}")


def release() -> None:
    """Unset the trainer's ZeRO-3, so that the next model is loaded whole."""
    load.free()
    unset_hf_deepspeed_config()
