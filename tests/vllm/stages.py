"""Some steps of GRPO with the built-in model, on rows of one image and of two in turns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from geovlm import nano
from geovlm.config import load as configuration
from geovlm.engine.generation.generate import image_tokens
from geovlm.engine.models import adapters, load
from geovlm.engine.rows import tokens
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Row, dataset
from geovlm.engine.stage import Stage
from geovlm.engine.training import grpo
from geovlm.plugins import registry
from geovlm.run import files
from geovlm.run.folder import RunDir

GENERATIONS = 4
_STAGE = 2
_SETTINGS = {
    "per_device_train_batch_size": 2 * GENERATIONS,
    "num_generations": GENERATIONS,
    "learning_rate": 1e-4,
    "temperature": 1.0,
}


def trainer(
    folder: Path,
    rows: list[Row],
    *overrides: str,
    generation: str = "vllm-colocate",
    steps: int = 2,
) -> Any:
    """Return the trainer of a GRPO stage, as a run builds it."""
    torch.manual_seed(0)
    sets = [f"stages.{_STAGE}.trainer.{name}={value}" for name, value in _SETTINGS.items()]
    config = configuration.load(
        None,
        tasks=["xbd/count"],
        overrides=[
            "device=cpu",
            f"stages.{_STAGE}.generation={generation}",
            f"stages.{_STAGE}.freeze_vision=false",
            f"stages.{_STAGE}.vllm.max_model_len=256",
            "max_new_tokens=16",
            *sets,
            *overrides,
        ],
    )
    run = RunDir(folder)
    files.write_json(run.resolved, {"stage_folders": config.stage_folders()})
    stage = Stage(
        run=run,
        config=config,
        registry=registry.load(),
        index=_STAGE,
        task_names=("xbd/count",),
        data_roots={},
        cache=ImageCache(),
        rank=0,
        world_size=1,
    )
    path = str(nano.path())
    loaded = load.load(path, config, registry=stage.registry, to_train=True)
    loaded.model.config._name_or_path = path
    control = tokens.control_tokens(loaded.processor)
    return grpo.trainer(
        stage,
        loaded,
        reward_funcs=[_every_other],
        rows=dataset(rows, cache=stage.cache, tokens=control),
        args=grpo.arguments(
            stage,
            max_steps=steps,
            on_cpu=True,
            reward_weights=[1.0],
            suppress=image_tokens(loaded.processor),
            stops=loaded.chat.stops,
        ),
        adapter=adapters.of_run(config, loaded.profile, model=loaded.model, freeze_vision=False),
        callbacks=[],
    )


def batch(trainer: Any) -> list[dict[str, Any]]:
    """Return the rows of the first step, each as often as it is answered."""
    return [trainer.train_dataset[i // GENERATIONS] for i in range(2 * GENERATIONS)]


def _every_other(completions: list[Any], **_: Any) -> list[float]:
    return [float(number % 2) for number in range(len(completions))]
