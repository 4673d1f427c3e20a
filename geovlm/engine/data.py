"""Samples -> rows -> what the trainers read.

A row is strings only: the references of its images, never their pixels, so that Arrow stays small
and every task has the same schema. Pixels come into being when a trainer reads a row.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from datasets import Dataset

from geovlm import answers, boxes, raster
from geovlm.api import (
    ModelProfile,
    Prediction,
    PromptContext,
    RewardContext,
    Sample,
    Size,
    TaskSpec,
    Turn,
)
from geovlm.engine.images import ImageCache
from geovlm.errors import DataError
from geovlm.registry import resolve

IMAGES_DECODED = 500
"""Images per task that are decoded before training; `geovlm data check` reads all of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One sample of one task, ready for any stage; every field survives JSON."""

    task: str
    sample_id: str
    images: tuple[str, ...]
    """References, encoded by `geovlm.raster.encode`, as JSON."""
    question: str
    """What the user says, the instruction included."""
    reasoning: str
    answer: str
    target: Mapping[str, Any]
    image_sizes: tuple[Size, ...]
    input_sizes: tuple[Size, ...]
    meta: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Identifies the row over all stages of a run."""
        return f"{self.task}\t{self.sample_id}"


def to_row(
    sample: Sample,
    *,
    task: TaskSpec,
    profile: ModelProfile,
    instruction: str,
    options: Any = None,
) -> Row:
    """Write the sample as the task's question to this model family.

    Raises:
        DataError: an image cannot be read, or the task wrote no reasoning or no answer.
    """
    image_sizes = tuple(raster.image_size(image) for image in sample.images)
    input_sizes = tuple(
        boxes.input_size(size, profile=profile, min_pixels=task.min_pixels) for size in image_sizes
    )
    if options is None and task.options is not None:
        options = task.options()
    context = PromptContext(
        profile=profile, image_sizes=image_sizes, input_sizes=input_sizes, options=options
    )
    turn = resolve(task.prompt)(sample, context)
    if not turn.answer.strip() or not turn.reasoning.strip():
        raise DataError(
            f"task {task.name!r} wrote no {'reasoning' if turn.answer.strip() else 'answer'} for "
            f"sample {sample.id!r}",
            hint="its prompt function must return both",
        )
    return Row(
        task=task.name,
        sample_id=sample.id,
        images=tuple(json.dumps(raster.encode(image)) for image in sample.images),
        question=f"{turn.question.strip()} {instruction}".strip(),
        reasoning=turn.reasoning,
        answer=turn.answer,
        target=sample.target,
        image_sizes=image_sizes,
        input_sizes=input_sizes,
        meta=sample.meta,
    )


def messages(row: Row) -> list[dict[str, Any]]:
    """Return the user's turn: one placeholder per image, then the question."""
    content: list[dict[str, Any]] = [{"type": "image"} for _ in row.images]
    return [{"role": "user", "content": [*content, {"type": "text", "text": row.question}]}]


def gold(row: Row) -> str:
    """Return what a perfect model writes: reasoning and answer in their tags."""
    return answers.frame(Turn(question=row.question, answer=row.answer, reasoning=row.reasoning))


def dataset(rows: Sequence[Row], *, cache: ImageCache, with_completion: bool) -> Dataset:
    """Return a data set whose columns are built on access.

    Columns: `prompt` (messages), `images` (PIL), `task`, `sample_id`, `row` (JSON of the `Row`),
    and with `with_completion` also `completion` (messages).
    """
    table = Dataset.from_dict({"row": [dump(row) for row in rows]})

    def build(batch: dict[str, list[str]]) -> dict[str, list[Any]]:
        loaded = [parse(text) for text in batch["row"]]
        made: dict[str, list[Any]] = {
            "prompt": [messages(row) for row in loaded],
            "images": [pictures(row, cache=cache) for row in loaded],
            "task": [row.task for row in loaded],
            "sample_id": [row.sample_id for row in loaded],
            "row": list(batch["row"]),
        }
        if with_completion:
            made["completion"] = [[{"role": "assistant", "content": gold(r)}] for r in loaded]
        return made

    return table.with_transform(build)


def pictures(row: Row, *, cache: ImageCache) -> list[Any]:
    """Return the row's images (PIL, RGB) at the sizes at which the model sees them."""
    return [cache.get(ref, size) for ref, size in zip(row.images, row.input_sizes, strict=True)]


def dump(row: Row) -> str:
    """Return the row as JSON."""
    return json.dumps(asdict(row))


@lru_cache(maxsize=65536)
def parse(text: str) -> Row:
    """Return the row that `dump` wrote."""
    fields = json.loads(text)
    for name in ("image_sizes", "input_sizes"):
        fields[name] = tuple((width, height) for width, height in fields[name])
    fields["images"] = tuple(fields["images"])
    return Row(**fields)


def reward_context(
    row: Row,
    *,
    profile: ModelProfile,
    options: Mapping[str, Any],
    progress: float = 0.0,
) -> RewardContext:
    """Return what rewards may know of the row; never its `meta`."""
    return RewardContext(
        task=row.task,
        sample_id=row.sample_id,
        question=row.question,
        answer=row.answer,
        target=row.target,
        image_sizes=row.image_sizes,
        input_sizes=row.input_sizes,
        profile=profile,
        progress=progress,
        options=options,
    )


def prediction(row: Row, completion: str, *, profile: ModelProfile) -> Prediction:
    """Return the row with a model's completion, as metrics receive it."""
    return Prediction(
        task=row.task,
        sample_id=row.sample_id,
        question=row.question,
        completion=completion,
        answer=row.answer,
        target=row.target,
        image_sizes=row.image_sizes,
        input_sizes=row.input_sizes,
        profile=profile,
        meta=row.meta,
    )


def audit_lengths(
    rows: Sequence[Row],
    *,
    count_tokens: Callable[[Row], int],
    limit: int,
) -> dict[str, tuple[int, int]]:
    """Return (longest, mean) tokens of prompt and gold completion per task.

    Prompts are never truncated, so one that does not fit must be found before training.

    Raises:
        DataError: a row is longer than `limit` tokens; names the longest one.
    """
    lengths: dict[str, list[int]] = {}
    worst: tuple[int, Row] | None = None
    for row in rows:
        tokens = count_tokens(row)
        lengths.setdefault(row.task, []).append(tokens)
        if worst is None or tokens > worst[0]:
            worst = (tokens, row)
    if worst is not None and worst[0] > limit:
        tokens, row = worst
        raise DataError(
            f"sample {row.sample_id!r} of task {row.task!r} needs {tokens} tokens, the model takes "
            f"{limit}",
            hint="shorten the instruction, lower max_pixels, or choose a model that takes more",
        )
    return {task: (max(many), round(sum(many) / len(many))) for task, many in lengths.items()}


def audit_images(rows: Sequence[Row], *, cache: ImageCache) -> None:
    """Decode the images of the rows, at most `IMAGES_DECODED` of them, spread evenly.

    Sizes come from headers, and a file that was cut off has a sound one: without this, it would be
    found in the middle of training.

    Raises:
        DataError: an image cannot be decoded; names the file.
    """
    wanted = list(
        dict.fromkeys(
            pair for row in rows for pair in zip(row.images, row.input_sizes, strict=True)
        )
    )
    for reference, size in wanted[:: math.ceil(len(wanted) / IMAGES_DECODED) or 1]:
        cache.get(reference, size)
