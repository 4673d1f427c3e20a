"""Applies a run's settings of a task to the task's declaration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from geovlm.api import ModelProfile, TaskSpec
from geovlm.config.options import lookup, nearest
from geovlm.errors import ConfigError

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig


def configured(
    task: TaskSpec, config: RunConfig, *, profile: ModelProfile | None = None
) -> TaskSpec:
    """Return the task with `min_pixels` of its table, or of its prefix's.

    Prompts, training and scores all read `min_pixels` of the task, so that sizes, box frames and
    token counts agree. The `profile` has the model's pixel limits.

    Raises:
        ConfigError: the table asks for larger images than the model takes.
    """
    named = nearest(config.tasks, task.name)
    wanted = config.tasks[named].min_pixels if named else None
    if wanted is None:
        return task
    largest = config.max_pixels or (profile.max_pixels if profile is not None else None)
    if largest is not None and wanted > largest:
        raise ConfigError(
            f"tasks.{named}.min_pixels is {wanted}, and model {config.model!r} takes images of at "
            f"most {largest} pixels",
            hint="lower it, or raise max_pixels",
        )
    return replace(task, min_pixels=wanted)


def instruction_of(task: TaskSpec, config: RunConfig) -> str:
    """Return the text that a run appends to the questions of a task."""
    return config.instruction if task.reasoning == "think" else config.answer_instruction


def weights_of(
    config: RunConfig, sizes: Mapping[str, int], *, stage: int | None = None
) -> dict[str, float] | None:
    """Return task -> weight of its rows in a stage, or in every stage that has no weights.

    `sizes` holds the number of samples of each task, by which the tasks of a weighted prefix share
    its weight. `None`: no task has a weight. Without weights of the stage, a task that has none
    has 1.
    """
    own = config.stages[stage] if stage is not None else None
    if own is not None and own.kind != "probe" and own.weights:
        keys = {name: nearest(own.weights, name) for name in sizes}
        totals: Counter[str] = Counter()
        for name, size in sizes.items():
            totals[keys[name]] += size
        return {
            name: own.weights[keys[name]] * size / totals[keys[name]]
            for name, size in sizes.items()
        }
    entries = {name: lookup(config.tasks, name) for name in sizes}
    given = {name: entry.weight if entry is not None else None for name, entry in entries.items()}
    return {name: weight or 1.0 for name, weight in given.items()} if any(given.values()) else None
