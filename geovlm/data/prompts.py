"""Builds the prompt that a model family sees for a sample; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from geovlm import answers, boxes
from geovlm.api import (
    Json,
    ModelProfile,
    Prediction,
    PromptContext,
    RewardContext,
    Sample,
    Size,
    TaskSpec,
    Turn,
)
from geovlm.data import texts
from geovlm.errors import DataError
from geovlm.plugins.references import resolve


class _PromptLike(Protocol):
    """Fields that rewards and metrics read of a `Prompt`, a row of the engine or a prediction."""

    @property
    def task(self) -> str: ...
    @property
    def sample_id(self) -> str: ...
    @property
    def question(self) -> str: ...
    @property
    def answer(self) -> str: ...
    @property
    def target(self) -> Mapping[str, Any]: ...
    @property
    def image_sizes(self) -> tuple[Size, ...]: ...
    @property
    def input_sizes(self) -> tuple[Size, ...]: ...
    @property
    def meta(self) -> Mapping[str, Any]: ...


class _Answerable(_PromptLike, Protocol):
    """Fields of a `Prompt` or a row of the engine that a prediction takes over."""

    @property
    def thinks(self) -> bool: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """A sample with the question and the correct answer that a task writes for a model family."""

    task: str
    sample: Sample
    turn: Turn
    image_sizes: tuple[Size, ...]
    """Stored size of each image, pixels."""
    input_sizes: tuple[Size, ...]
    """Size at which the model sees each image, pixels."""
    given_sizes: tuple[Size, ...] = ()
    """Size at which the processor gets each image, pixels; empty: `input_sizes`."""
    thinks: bool = True
    """True if the correct completion holds reasoning, see `TaskSpec.reasoning`."""

    @property
    def picture_sizes(self) -> tuple[Size, ...]:
        """Size of the picture of each image that the processor gets, pixels."""
        return self.given_sizes or self.input_sizes

    @property
    def sample_id(self) -> str:
        """Id of the sample within its data set."""
        return self.sample.id

    @property
    def question(self) -> str:
        """Text of the user's turn, without the run's instruction."""
        return self.turn.question

    @property
    def answer(self) -> str:
        """Correct answer, as text."""
        return self.turn.answer

    @property
    def gold(self) -> str:
        """The correct completion, see `geovlm.answers.frame`.

        Raises:
            DataError: the task wrote no reasoning or no answer; names the sample.
        """
        self.require_answer()
        return answers.frame(self.turn, thinks=self.thinks)

    def require_answer(self) -> None:
        """Refuse a prompt that can be asked but neither trained on nor scored.

        Raises:
            DataError: see `gold`.
        """
        for part, text in (("answer", self.answer), ("reasoning", self.turn.reasoning)):
            if not text.strip() and (self.thinks or part == "answer"):
                raise DataError(
                    f"task {self.task!r} wrote no {part} for sample {self.sample_id!r}",
                    hint="its prompt function must return both, or its TaskSpec have "
                    "reasoning='none'",
                )

    @property
    def target(self) -> Mapping[str, Any]:
        """Target of the sample."""
        return self.sample.target

    @property
    def meta(self) -> Mapping[str, Any]:
        """Provenance of the sample; rewards never see it."""
        return self.sample.meta


class Prompter:
    """Writes the prompts of one task for one model family.

    Samples whose images have the same sizes share one `PromptContext`. `options` are an instance of
    the task's `options` class; its defaults if `None`.
    """

    def __init__(self, task: TaskSpec, *, profile: ModelProfile, options: Any = None) -> None:
        self.task = task
        self.profile = profile
        self._options = task.options() if options is None and task.options else options
        self._write = resolve(task.prompt)
        self._last: tuple[Sequence[Any], tuple[Size, ...]] = ((), ())
        self._contexts: dict[tuple[Size, ...], tuple[PromptContext, tuple[Size, ...]]] = {}

    def prompt(self, sample: Sample) -> Prompt:
        """Return the prompt of one of the task's samples.

        Raises:
            DataError: the sample has no image, the size of one cannot be read, or the task wrote a
                turn that `geovlm.data.texts.check_turn` refuses; names it.
        """
        if not sample.images:
            raise DataError(
                f"sample {sample.id!r} of task {self.task.name!r} has no image",
                hint="leave it out when loading the data set, with LoadContext.skip",
            )
        stored = sample.image_sizes
        if not stored:  # the data set declares none: those of the headers
            from geovlm import raster

            if sample.images is not self._last[0]:  # rows of one image often follow one another
                sizes = tuple(raster.image_size(image) for image in sample.images)
                self._last = sample.images, sizes
            stored = self._last[1]
        known = self._contexts.get(stored)
        if known is None:
            seen, given = (
                tuple(
                    size(each, profile=self.profile, min_pixels=self.task.min_pixels)
                    for each in stored
                )
                for size in (boxes.input_size, boxes.picture_size)
            )
            context = PromptContext(
                profile=self.profile, image_sizes=stored, input_sizes=seen, options=self._options
            )
            known = self._contexts[stored] = context, given
        context, given = known
        turn = self._write(sample, context)
        thinks = self.task.reasoning == "think"
        texts.check_turn(turn, task=self.task.name, sample_id=sample.id, thinks=thinks)
        return Prompt(
            task=self.task.name,
            sample=sample,
            turn=turn,
            image_sizes=stored,
            input_sizes=context.input_sizes,
            given_sizes=given,
            thinks=thinks,
        )


def visual_tokens(picture_sizes: Sequence[Size], *, profile: ModelProfile) -> int:
    """Return how many tokens the model makes of the images of a prompt.

    `picture_sizes` are those of the pictures that the processor gets, pixels.
    """
    if profile.image_tokens is not None:
        return profile.image_tokens(picture_sizes)
    factor = profile.size_factor
    cells = sum((width // factor) * (height // factor) for width, height in picture_sizes)
    return cells * profile.cell_tokens


def reward_context(
    prompt: _PromptLike,
    *,
    profile: ModelProfile,
    options: Mapping[str, Json] = {},
    progress: float = 0.0,
) -> RewardContext:
    """Return what rewards may know of a prompt; never its `meta`.

    `options` are the run's `[reward_options]`, `progress` is the share of training done, 0 to 1.
    """
    return RewardContext(
        task=prompt.task,
        sample_id=prompt.sample_id,
        question=prompt.question,
        answer=prompt.answer,
        target=prompt.target,
        image_sizes=prompt.image_sizes,
        input_sizes=prompt.input_sizes,
        profile=profile,
        progress=progress,
        options=options,
    )


def prediction(prompt: _Answerable, completion: str, *, profile: ModelProfile) -> Prediction:
    """Return a prompt with a model's completion, as metrics receive it."""
    return Prediction(
        task=prompt.task,
        sample_id=prompt.sample_id,
        question=prompt.question,
        completion=completion,
        answer=prompt.answer,
        target=prompt.target,
        image_sizes=prompt.image_sizes,
        input_sizes=prompt.input_sizes,
        profile=profile,
        meta=prompt.meta,
        reasoning="think" if prompt.thinks else "none",
    )
