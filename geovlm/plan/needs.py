"""Checks the needs of a run beside data, model and trainers, which only a late stage meets.

These are functions of plugins that are imported on first use, the sentence encoder of some rewards,
and room on the disk.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from geovlm.api import TaskSpec
from geovlm.config.model import ModelFacts
from geovlm.errors import ConfigError, PluginUnavailableError
from geovlm.plugins.references import resolve
from geovlm.plugins.registry import Registry
from geovlm.rewards import encoder
from geovlm.run import files

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig
    from geovlm.run.folder import RunDir


def check_functions(tasks: Iterable[TaskSpec], *, registry: Registry) -> None:
    """Import the functions of all rewards and metrics of tasks; both sets of rewards are computed.

    Raises:
        PluginUnavailableError: one cannot be imported; names task and reward or metric.
        UnknownNameError: a task names a reward or metric that no plugin has.
    """
    for task in tasks:
        rewards = [registry.reward(name) for each in task.rewards.values() for name in each]
        metrics = [registry.metric(name) for name in task.metrics]
        found = [(f"reward {each.name!r}", each.score) for each in rewards]
        for metric in metrics:
            parts = (metric.compute, metric.counts, metric.finish)
            found += [(f"metric {metric.name!r}", each) for each in parts if each is not None]
        for name, reference in found:
            try:
                resolve(reference)
            except PluginUnavailableError as error:
                raise PluginUnavailableError(
                    f"{name} of task {task.name!r}: {error.args[0]}", hint=error.hint
                ) from error


def check_encoder(config: RunConfig, tasks: Iterable[TaskSpec]) -> None:
    """Refuse rewards that embed sentences if the encoder is not on this machine.

    Raises:
        GeoVLMError: there is no encoder, or the configured one cannot be loaded.
    """
    named = {name for task in tasks for each in task.rewards.values() for name in each}
    if named & encoder.NEED_ENCODER:
        chosen = config.reward_options.get("encoder")
        encoder.check(str(chosen) if chosen is not None else None)


def check_space(config: RunConfig, model: ModelFacts, *, begun: RunDir | None) -> None:
    """Refuse a run whose models and checkpoints cannot fit on the disk of its folder.

    Counts the least that the run writes: a whole model per stage that trains, and a checkpoint of
    the stages that save by default.

    Raises:
        ConfigError: names the folder, the room and the need; or nothing can be written there.
    """
    folder = config.output
    if folder is None:
        return
    files.check_writable(folder)
    if model.parameters is None:
        return
    size = model.parameters * (4 if config.device == "cpu" else 2)
    needed = 0
    for index, stage in enumerate(config.stages):
        if stage.kind == "probe" or (begun is not None and begun.has_model(index)):
            continue
        needed += size
        if config.lora is None and begun is None and "save_steps" not in stage.trainer:
            adam = str(stage.trainer_arguments()["optim"]).startswith("adamw_torch")
            needed += size * (3 if adam else 1)
    free = shutil.disk_usage(_existing(folder)).free
    if free < needed:
        raise ConfigError(
            f"{_existing(folder)} has {free / 1e9:.2f} GB free, models and checkpoints of this run "
            f"take at least {needed / 1e9:.2f} GB",
            hint="give an --output on another disk, or adapters: --set lora.r=64",
        )


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.is_dir())
