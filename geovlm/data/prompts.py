"""A sample as the engine puts it to a model of one family, without an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from geovlm import boxes
from geovlm.api import (
    Json,
    ModelProfile,
    PromptContext,
    RewardContext,
    Sample,
    Size,
    TaskSpec,
    Turn,
)
from geovlm.errors import DataError
from geovlm.plugins.references import resolve


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A sample of a task, put to a model of one family."""

    sample: Sample
    turn: Turn
    image_sizes: tuple[Size, ...]
    input_sizes: tuple[Size, ...]


def put(task: TaskSpec, sample: Sample, *, profile: ModelProfile, options: Any = None) -> Shown:
    """Return the sample with its turn, as the engine would put it to a model of this family.

    Args:
        task: the task.
        sample: one of the task's samples.
        profile: the model family.
        options: an instance of the task's `options` class; its defaults if `None`.

    Raises:
        DataError: the sample has no image, or the size of one cannot be read; names it.
    """
    return putter(task, profile=profile, options=options)(sample)


def putter(
    task: TaskSpec, *, profile: ModelProfile, options: Any = None
) -> Callable[[Sample], Shown]:
    """Return `put` for many samples of a task: what depends on their sizes only is made once."""
    if options is None and task.options is not None:
        options = task.options()
    prompt = resolve(task.prompt)
    contexts: dict[tuple[Size, ...], PromptContext] = {}

    def put(sample: Sample) -> Shown:
        if not sample.images:
            raise DataError(
                f"sample {sample.id!r} of task {task.name!r} has no image",
                hint="leave it out when loading the data set, with LoadContext.skip",
            )
        stored = stored_sizes(sample)
        context = contexts.get(stored)
        if context is None:
            seen = tuple(
                boxes.input_size(size, profile=profile, min_pixels=task.min_pixels)
                for size in stored
            )
            context = contexts[stored] = PromptContext(
                profile=profile, image_sizes=stored, input_sizes=seen, options=options
            )
        turn = prompt(sample, context)
        return Shown(sample=sample, turn=turn, image_sizes=stored, input_sizes=context.input_sizes)

    return put


def stored_sizes(sample: Sample) -> tuple[Size, ...]:
    """Return the sizes of the sample's images: as its data set declares them, else by the headers.

    Raises:
        DataError: a header cannot be read; names the file.
    """
    if sample.image_sizes:
        return sample.image_sizes
    from geovlm import raster

    return tuple(raster.image_size(image) for image in sample.images)


def visual_tokens(shown: Shown, *, profile: ModelProfile) -> int:
    """Return how many tokens the model makes of the sample's images."""
    return tokens_of(shown.input_sizes, profile=profile)


def tokens_of(input_sizes: Sequence[Size], *, profile: ModelProfile) -> int:
    """Return how many tokens the model makes of images of these sizes."""
    factor = profile.size_factor
    cells = sum((width // factor) * (height // factor) for width, height in input_sizes)
    return cells * profile.cell_tokens


def reward_context(
    shown: Shown, *, task: TaskSpec, profile: ModelProfile, options: Mapping[str, Json]
) -> RewardContext:
    """Return what rewards may know of the sample; never its `meta`."""
    return RewardContext(
        task=task.name,
        sample_id=shown.sample.id,
        question=shown.turn.question,
        answer=shown.turn.answer,
        target=shown.sample.target,
        image_sizes=shown.image_sizes,
        input_sizes=shown.input_sizes,
        profile=profile,
        options=options,
    )
