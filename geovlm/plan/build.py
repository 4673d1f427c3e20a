"""Builds the plan of a run: its model, tasks, stages and data, after all checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geovlm.api import Sample, Split
from geovlm.config.model import ModelFacts
from geovlm.data.leaks import LeftOut
from geovlm.plan import checks
from geovlm.plan.checks import Context
from geovlm.plan.data import TaskPlan
from geovlm.plugins.registry import Registry

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig
    from geovlm.run.folder import RunDir


@dataclass(frozen=True, kw_only=True, slots=True)
class StagePlan:
    """One stage."""

    folder: str
    kind: str
    tasks: tuple[str, ...]
    processes: int
    length: str
    """Number of steps, in words."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run that can be started."""

    config: RunConfig
    model: ModelFacts
    tasks: tuple[TaskPlan, ...]
    left_out: Mapping[str, str]
    """Task that a prefix chooses -> reason why it is not in the run."""
    stages: tuple[StagePlan, ...]
    output: Path
    checksums: Mapping[str, Mapping[str, Any]]
    """Data set -> split -> checksums, see `geovlm.plan.checksums.of_split`."""
    records: dict[tuple[str, Split], Sequence[Sample]]
    """Data set and split -> its records; emptied when the run's processes are given them."""
    deduplicated: LeftOut
    """Images and events that training leaves out because the evaluation has them too."""

    @property
    def task_names(self) -> list[str]:
        """Names of the run's tasks."""
        return [task.name for task in self.tasks]

    def resolved(self) -> dict[str, Any]:
        """Return the contents of `resolved.json`."""
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


def make(
    config: RunConfig,
    *,
    registry: Registry,
    output: Path,
    elsewhere: bool = False,
    begun: RunDir | None = None,
) -> Plan:
    """Go through all checks and return the plan of a run whose device is resolved.

    `begun` is the run that is resumed.

    Raises:
        GeoVLMError: a check refuses the run; states how to fix it.
    """
    context = begin(config, registry=registry, elsewhere=elsewhere, begun=begun)
    return finish(context, output=output)


def begin(
    config: RunConfig,
    *,
    registry: Registry,
    elsewhere: bool = False,
    few: bool = False,
    begun: RunDir | None = None,
) -> Context:
    """Go through the checks before that of the data and return what they found.

    With `few`, the others read only a few records of data that cannot be generated.

    Raises:
        GeoVLMError: a check refuses the run; states how to fix it.
    """
    context = Context(config=config, registry=registry, begun=begun, elsewhere=elsewhere, few=few)
    checks.before_data(context)
    return context


def finish(context: Context, *, output: Path) -> Plan:
    """Go through the other checks and return the plan of a run that `begin` has checked.

    Raises:
        GeoVLMError: a check refuses the run; states how to fix it.
    """
    checks.from_data(context)
    config = context.config
    return Plan(
        config=config,
        model=context.model,
        tasks=tuple(context.tasks),
        left_out=context.left_out,
        stages=tuple(
            _stage(config, index, plans=context.tasks) for index in range(len(config.stages))
        ),
        output=output,
        checksums=context.reader.checksums,
        records=context.reader.records,
        deduplicated=context.reader.left_out,
    )


def _stage(config: RunConfig, index: int, *, plans: Sequence[TaskPlan]) -> StagePlan:
    """Return one stage of the plan."""
    stage = config.stages[index]
    tasks = config.tasks_of(index, [plan.name for plan in plans])
    counts = [plan.samples.get("train", 0) for plan in plans if plan.name in tasks]
    rows = sum(min(count, stage.limit or count) for count in counts)
    counted = not any(plan.few for plan in plans if plan.name in tasks)
    if stage.kind == "probe":
        most = f"{min(stage.prompts, rows)}" if counted else f"at most {stage.prompts}"
        length = f"{most} prompts x {stage.generations} answers"
    elif stage.steps is not None:
        length = "1 step" if stage.steps == 1 else f"{stage.steps:,} steps"
    elif stage.kind == "sft" and counted:
        trainer = stage.trainer_arguments()
        batch = int(trainer["per_device_train_batch_size"])
        accumulated = int(trainer["gradient_accumulation_steps"])
        per_step = batch * accumulated * config.world_size(index)
        steps = stage.n_steps(rows=rows, per_step=per_step)
        length = f"{stage.epochs:g} epochs of {rows:,} rows, {steps:,} steps"
    else:
        probed = any(each.kind == "probe" for each in config.stages[:index])
        all_of_them = f"{rows:,} prompts" if counted else "all training samples"
        what = "what the probe keeps" if probed and stage.kind == "grpo" else all_of_them
        length = f"{stage.epochs:g} epochs of {what}"
    return StagePlan(
        folder=config.stage_folders()[index],
        kind=stage.kind,
        tasks=tuple(tasks),
        processes=config.world_size(index),
        length=length,
    )
