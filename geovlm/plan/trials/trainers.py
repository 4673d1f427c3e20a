"""The trial of the trainers of all stages, see `geovlm.engine.programs.trainers`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from geovlm.errors import ConfigError
from geovlm.plan.trials.process import Trial

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig
    from geovlm.run.folder import RunDir

_VERSION = 2
"""Version of the trial; to be raised with every change of `geovlm.engine.programs.trainers`."""
_READ = ("model", "trust_remote_code", "lora", "stages", "device", "parallel")
"""Fields of the configuration on which a trial depends, besides numbers of processes."""


def trial(
    config: RunConfig, *, task_names: list[str], elsewhere: bool, begun: RunDir | None
) -> Trial | None:
    """Return the trial of all stages that are not done; `None` if there is none.

    `begun` is the run that is resumed.

    Raises:
        ConfigError: a stage uploads its model and there is no account.
    """
    stages = [
        index
        for index, stage in enumerate(config.stages)
        if stage.kind != "probe" and not _is_done(begun, index)
    ]
    if not stages:
        return None
    refuse_without_account(config, stages)
    before = begun.read_resolved().get("started_with", {}) if begun is not None else {}
    given = {"stages": stages, "started_with": before, "elsewhere": elsewhere}
    dumped = config.model_dump(mode="json")
    sizes = [config.world_size(index) for index in range(len(config.stages))]
    depends = [
        *(_VERSION, os.environ.get("CUDA_VISIBLE_DEVICES"), sizes),
        *({name: dumped[name] for name in _READ}, given),
    ]
    return Trial("trainers", {"config": dumped, "task_names": task_names, **given}, depends)


def _is_done(begun: RunDir | None, index: int) -> bool:
    if begun is None or index >= len(begun.read_resolved()["stage_folders"]):
        return False
    return begun.is_done(index)


def refuse_without_account(config: RunConfig, stages: list[int]) -> None:
    """Refuse uploads without an account: they would fail when the stage begins or saves.

    Raises:
        ConfigError: names the key and how to log in.
    """
    for index in stages:
        trainer = config.stages[index].trainer  # type: ignore[union-attr]  # not a probe
        if trainer.get("push_to_hub") and not trainer.get("hub_token"):
            from huggingface_hub import get_token

            if get_token() is None:
                raise ConfigError(
                    f"stages.{index}.trainer.push_to_hub needs an account of the Hugging Face hub",
                    hint="log in with 'hf auth login', or set HF_TOKEN",
                )
