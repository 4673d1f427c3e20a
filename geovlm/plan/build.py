"""What a run is going to do, found out before anything starts; every precondition fails here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geovlm.config import extras
from geovlm.config import model as modelfacts
from geovlm.config.model import ModelFacts
from geovlm.config.options import near
from geovlm.data.leaks import LeftOut
from geovlm.errors import ConfigError, DataError, DatasetNotFoundError
from geovlm.plan import leaks
from geovlm.plan.data import EmptySplitError, Reader, TaskPlan
from geovlm.plugins.registry import Registry
from geovlm.run import parallel
from geovlm.run.vllm import server

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class StagePlan:
    """One stage."""

    folder: str
    kind: str
    tasks: tuple[str, ...]
    processes: int
    length: str
    """Steps, as people read it."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run that can be started."""

    config: RunConfig
    model: ModelFacts
    tasks: tuple[TaskPlan, ...]
    left_out: Mapping[str, str]
    """Task that a prefix would have chosen -> why it is not in the run."""
    stages: tuple[StagePlan, ...]
    output: Path
    checksums: Mapping[str, Mapping[str, Any]]
    """Data set -> split -> records and SHA-256, see `plan_data.checksum`."""
    deduplicated: LeftOut
    """Images and events that training leaves out because the evaluation has them too."""

    @property
    def task_names(self) -> list[str]:
        """The tasks of the run."""
        return [task.name for task in self.tasks]

    def resolved(self) -> dict[str, Any]:
        """Return what `resolved.json` holds."""
        config = self.config
        indexes = range(len(config.stages)) if config.stages else [-1]
        return {
            "config": config.model_dump(mode="json"),
            "task_names": self.task_names,
            "stage_folders": config.stage_folders(),
            "world_sizes": {
                "eval" if index == -1 else str(index): config.world_size(index) for index in indexes
            },
            "samples": {task.name: dict(task.samples) for task in self.tasks},
            "data_roots": {task.dataset: str(task.root) for task in self.tasks},
            "generated": sorted({task.dataset for task in self.tasks if task.generated}),
            "left_out": dict(self.left_out),
            "deduplicated": {task.name: task.deduplicated for task in self.tasks}
            if self.config.deduplicate != "off"
            else {},
        }


def make(config: RunConfig, *, registry: Registry, output: Path) -> Plan:
    """Check every precondition and return the plan.

    Args:
        config: the run, with its device resolved.
        registry: what is installed.
        output: the run directory.

    Raises:
        GeoVLMError: the run is impossible; says what to change.
    """
    if not config.tasks:
        raise ConfigError("no tasks are given", hint="--tasks a,b; see 'geovlm tasks list'")
    parallel.check(config)
    server.check(config)
    selected = {
        chosen.spec.name: (chosen.spec, chosen.spec.name in config.tasks)
        for chosen in registry.select(list(config.tasks))
    }
    check_data_names(config, registry=registry)
    extras.check(config)
    model = modelfacts.inspect(config, registry=registry)
    reader = Reader(config, registry, model, modelfacts.token_counter(model))
    if config.deduplicate != "off":
        reader.left_out = leaks.left_out(reader, [spec for spec, _ in selected.values()])
    plans: list[TaskPlan] = []
    left_out: dict[str, str] = {}
    for spec, explicit in selected.values():
        try:
            plans.append(reader.plan(spec))
        except (EmptySplitError, DatasetNotFoundError) as error:
            if explicit:
                raise
            left_out[spec.name] = str(error)
    _check_nothing_vanished(config, plans=plans, left_out=left_out)
    names = [plan.name for plan in plans]
    stages = tuple(_stage(config, i, plans=plans, names=names) for i in range(len(config.stages)))
    return Plan(
        config=config,
        model=model,
        tasks=tuple(plans),
        left_out=left_out,
        stages=stages,
        output=output,
        checksums=reader.checksums,
        deduplicated=reader.left_out,
    )


def refuse_mixing(config: RunConfig, index: int, *, tasks: Sequence[str]) -> None:
    """Refuse advantage scaling over a batch where a GRPO stage has several tasks.

    A group holds one prompt, hence one task; a batch holds all of them, and its standard deviation
    would let the task with the widest rewards shrink the others' advantages.

    Raises:
        ConfigError: names the key.
    """
    stage = config.stages[index]
    if stage.kind != "grpo" or len(tasks) < 2:
        return
    mixing = (("scale_rewards", "batch"), ("multi_objective_aggregation", "normalize_then_sum"))
    for key, value in mixing:
        if stage.trainer.get(key) == value:
            raise ConfigError(
                f"stages.{index}.trainer.{key}={value!r} mixes the rewards of different tasks, and "
                f"this stage has {len(tasks)}",
                hint="leave it out, or give each task a stage of its own",
            )


def refuse_unprobed(config: RunConfig, index: int, *, tasks: Sequence[str]) -> None:
    """Refuse tasks of a GRPO stage of which the probe before it tries no prompt: it gets the rest.

    Raises:
        ConfigError: names the stages and the task.
    """
    probes = [i for i in range(index) if config.stages[i].kind == "probe"]
    if config.stages[index].kind != "grpo" or not probes:
        return
    probed = config.tasks_of(probes[-1], tasks, strict=False)
    for task in tasks:
        if task not in probed:
            raise ConfigError(
                f"stages.{index} trains {task!r}, and the probe before it, stages.{probes[-1]}, "
                "leaves it out",
                hint=f"name the same tasks in stages.{probes[-1]}.tasks and stages.{index}.tasks",
            )


def _stage(
    config: RunConfig, index: int, *, plans: Sequence[TaskPlan], names: Sequence[str]
) -> StagePlan:
    """Return one stage of the plan, after checking its tasks and its scaling."""
    stage = config.stages[index]
    tasks = config.tasks_of(index, names)
    refuse_mixing(config, index, tasks=tasks)
    refuse_unprobed(config, index, tasks=tasks)
    most = stage.limit or math.inf
    rows = sum(min(plan.samples.get("train", 0), most) for plan in plans if plan.name in tasks)
    if stage.kind == "probe":
        length = f"{min(stage.prompts, rows)} prompts x {stage.generations} answers"
    elif stage.steps is not None:
        length = "1 step" if stage.steps == 1 else f"{stage.steps:,} steps"
    elif stage.kind == "sft":
        trainer = stage.trainer_arguments()
        batch = int(trainer["per_device_train_batch_size"])
        accumulated = int(trainer["gradient_accumulation_steps"])
        per_step = batch * accumulated * config.world_size(index)
        steps = stage.n_steps(rows=int(rows), per_step=per_step)
        length = f"{stage.epochs:g} epochs of {rows:,} rows, {steps:,} steps"
    else:
        probed = any(each.kind == "probe" for each in config.stages[:index])
        what = "what the probe keeps" if probed else f"{rows:,} prompts"
        length = f"{stage.epochs:g} epochs of {what}"
    return StagePlan(
        folder=config.stage_folders()[index],
        kind=stage.kind,
        tasks=tuple(tasks),
        processes=config.world_size(index),
        length=length,
    )


def check_data_names(config: RunConfig, *, registry: Registry) -> None:
    """Refuse `--data NAME=DIR` of a name that is neither a data set nor a prefix of one.

    Raises:
        ConfigError: such a name; says which one may have been meant.
    """
    known = {name for full in registry.datasets for name in (full, full.partition("/")[0])}
    for name in config.data:
        if name not in known:
            hint = near(name, known) or f"known are {', '.join(sorted(known))}"
            raise ConfigError(f"data.{name}: no data set of this name", hint=hint)


def _check_nothing_vanished(
    config: RunConfig, *, plans: Sequence[TaskPlan], left_out: Mapping[str, str]
) -> None:
    """Refuse a prefix of which no task is left."""
    for name in config.tasks:
        mine = [plan for plan in plans if plan.name == name or plan.name.startswith(f"{name}/")]
        if not mine:
            reasons = {why for task, why in left_out.items() if task.startswith(f"{name}/")}
            raise DataError(f"no task of {name!r} has data: {'; '.join(sorted(reasons))}")
