"""Builds rows from prompts, and the data set that the trainers read from rows.

A row holds references of its images, never pixels. The data set holds the numbers of rows only, so
that it is small and every task has the same schema; messages and pixels are made when a trainer
reads a row.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from geovlm import answers
from geovlm.api import Sample, Size, Turn
from geovlm.config.control_tokens import ControlTokens
from geovlm.data.prompts import Prompt, Prompter
from geovlm.engine.rows import rendering
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rendering import Chat
from geovlm.errors import RunFailedError
from geovlm.files.jsontext import dumps
from geovlm.raster import reference

if TYPE_CHECKING:
    from datasets import Dataset

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """The prompt of one sample, ready for any stage."""

    task: str
    sample_id: str
    images: tuple[str, ...]
    """References, encoded by `geovlm.raster.reference.encode`, as JSON."""
    question: str
    """Text of the user's turn, the run's instruction included."""
    thinks: bool = True
    """True if the correct completion holds reasoning, see `TaskSpec.reasoning`."""
    image_sizes: tuple[Size, ...]
    """Stored size of each image, pixels."""
    input_sizes: tuple[Size, ...]
    """Size at which the model sees each image, pixels."""
    given_sizes: tuple[Size, ...] = ()
    """Size at which the processor gets each image, pixels; empty: `input_sizes`."""
    reasoning: str = ""
    answer: str = ""
    """Correct answer; like `reasoning` empty where a row is only answered, not scored."""
    target: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def picture_sizes(self) -> tuple[Size, ...]:
        """Size of the picture of each image that the processor gets, pixels."""
        return self.given_sizes or self.input_sizes

    @property
    def key(self) -> str:
        """Identifies the row over all stages of a run."""
        return f"{self.task}\t{self.sample_id}"


def to_row(prompt: Prompt, *, instruction: str) -> Row:
    """Return the row of a prompt, the run's instruction behind its question.

    Raises:
        DataError: the task wrote no answer, or no reasoning where it thinks.
    """
    prompt.require_answer()
    return Row(
        task=prompt.task,
        sample_id=prompt.sample_id,
        images=tuple(dumps(reference.encode(image)) for image in prompt.sample.images),
        question=with_instruction(prompt, instruction),
        reasoning=prompt.turn.reasoning,
        answer=prompt.answer,
        target=prompt.target,
        image_sizes=prompt.image_sizes,
        input_sizes=prompt.input_sizes,
        given_sizes=prompt.given_sizes,
        meta=prompt.meta,
        thinks=prompt.thinks,
    )


@dataclass(frozen=True, kw_only=True)
class Rows(Sequence[Row]):
    """The rows of a task's samples, each built when it is read.

    A sample takes a quarter of the memory of its row, and a stage that trains on a thousand of
    half a million rows never builds the others.
    """

    samples: Sequence[Sample]
    prompter: Prompter
    instruction: str

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> Any:
        chosen = self.samples[index]
        if isinstance(chosen, Sample):
            return self._row(chosen)
        return [self._row(sample) for sample in chosen]

    def __iter__(self) -> Iterator[Row]:
        return map(self._row, self.samples)

    def prompts(self) -> Iterator[Prompt]:
        """Yield the prompt of every sample, without what else a row holds.

        Raises:
            DataError: see `Prompter.prompt`.
        """
        for sample in self.samples:
            yield self.prompter.prompt(sample)

    def _row(self, sample: Sample) -> Row:
        return to_row(self.prompter.prompt(sample), instruction=self.instruction)


@dataclass(frozen=True)
class Selected(Sequence[T]):
    """Some items of a sequence, each read when it is asked for."""

    items: Sequence[T]
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self.items[number] for number in self.numbers[index]]
        return self.items[self.numbers[index]]


def with_instruction(prompt: Prompt, instruction: str) -> str:
    """Return the text of the user's turn: the question, then the run's instruction."""
    return f"{prompt.question.strip()} {instruction}".strip()


@dataclass(frozen=True)
class Picked(Sequence[Row]):
    """A mixture: the rows that a plan picks, in its order."""

    parts: Mapping[str, Sequence[Row]]
    picks: Sequence[tuple[str, int]]
    """(task, row number) pairs of `geovlm.data.mixture.plan`."""

    def __len__(self) -> int:
        return len(self.picks)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self.parts[name][number] for name, number in self.picks[index]]
        name, number = self.picks[index]
        return self.parts[name][number]


def messages(row: Row, *, tokens: ControlTokens) -> rendering.Messages:
    """Return the user's turn: one placeholder per image, then the question, escaped."""
    return rendering.messages(tokens.escape(row.question), images=len(row.images))


def gold(row: Row, *, tokens: ControlTokens) -> str:
    """Return the correct completion, escaped, in its tags."""
    return tokens.escape(completion(row, answer=row.answer, reasoning=row.reasoning))


def completion(row: Row, *, answer: str, reasoning: str) -> str:
    """Return an answer in the tags that the row's task asks for; reasoning only where it thinks.

    Raises:
        ValueError: see `geovlm.answers.frame`.
    """
    turn = Turn(question=row.question, answer=answer, reasoning=reasoning)
    return answers.frame(turn, thinks=row.thinks)


def dataset(
    rows: Sequence[Row], *, cache: ImageCache, tokens: ControlTokens, chat: Chat | None = None
) -> Dataset:
    """Return a data set whose columns are built on access; Arrow holds the rows' numbers.

    Texts have the control tokens `tokens` of the model as letters.

    Columns: `prompt` (messages), `images` (PIL), `row` (its number in `rows`). With `chat` they are
    those of SFT: `prompt` is the text that evaluation asks, `completion` the one to learn.
    """
    from datasets import Dataset  # only trainers need it: a second, and torch

    table = Dataset.from_dict({"row": np.arange(len(rows))})
    return table.with_transform(_Columns(rows, cache=cache, tokens=tokens, chat=chat))


@dataclass(frozen=True, eq=False)
class _Columns:
    """Builds the columns of a batch of row numbers.

    `datasets` pickles a transform to name the result in its cache and copies it with the data set;
    half a million rows and the decoded images are neither pickled nor copied.
    """

    rows: Sequence[Row]
    cache: ImageCache
    tokens: ControlTokens
    chat: Chat | None

    def __call__(self, batch: Mapping[str, Sequence[int]]) -> dict[str, list[Any]]:
        rows = [self.rows[number] for number in batch["row"]]
        made: dict[str, list[Any]] = {
            "prompt": [messages(row, tokens=self.tokens) for row in rows],
            "images": [pictures(row, cache=self.cache) for row in rows],
            "row": list(batch["row"]),
        }
        if self.chat is not None:
            chat = self.chat
            made["prompt"] = [rendering.prompt(chat.processor, said) for said in made["prompt"]]
            made["completion"] = [chat.target(gold(row, tokens=self.tokens)) for row in rows]
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> _Columns:
        return self

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return _not_here, (uuid.uuid4().hex,)


def _not_here(token: str) -> Any:
    raise RunFailedError(
        "the rows of a stage stay in its process and those that it forks",
        hint="leave out dataloader workers that are spawned, or dataloader_num_workers",
    )


def pictures(row: Row, *, cache: ImageCache) -> list[Any]:
    """Return the row's images (PIL, RGB) at the sizes at which the processor gets them."""
    return [cache.get(ref, size) for ref, size in zip(row.images, row.picture_sizes, strict=True)]
