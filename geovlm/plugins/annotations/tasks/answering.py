"""Asks for a short answer: the tasks `vqa`, `classify` and `mcq`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from geovlm import answers
from geovlm.api import Json, PromptContext, Sample, Turn
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.records import BOX, Record
from geovlm.plugins.annotations.tasks import asking

CLASSIFY = "Which of these classes does the image show? Classes: {labels}."
"""The question of `classify` with a list of labels."""
_OPEN = "Which class does the image show?"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LETTER = "Answer with the letter."
_SEVERAL = "Answer with the letters of all that are right, with blanks between."
_SHOWN = 6
"""Labels that a summary names."""


@dataclass(frozen=True, slots=True)
class Asker:
    """The `prompt` of a task with a short answer."""

    description: Description

    def __call__(self, sample: Sample, ctx: PromptContext) -> Turn:
        """Return question and correct answer of a sample."""
        own, target = self.description, sample.target
        default = _OPEN
        if own.task == "classify" and own.labels:
            default = CLASSIFY.replace("{labels}", ", ".join(own.labels))
        text = asking.question(own, sample, ctx, default=default)
        if own.task == "classify":
            text = text.replace("{labels}", ", ".join(own.labels))
        choices: Any = target.get("choices")
        if choices:
            listed = (
                f"{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False)
            )
            several = len(str(target["answer"])) > 1
            text = "\n".join([text, *listed, _SEVERAL if several else _LETTER])
        return Turn(
            question=text,
            answer=str(target["answer"]),
            reasoning=str(target.get("reasoning", "")),
        )


def lacks(record: Record, own: Description) -> str:
    """Return what a record lacks for a task with a short answer; empty if nothing."""
    if own.task == "classify":
        if record.label is None:
            return "a label"
        if own.labels and record.label not in own.labels:
            return "a label of the list"
        return asking.unplaced(record, own)
    if not (record.question or own.question):
        return "a question"
    if record.answer is None:
        return "an answer"
    if own.task == "mcq":
        if not 2 <= len(record.choices) <= len(LETTERS):
            return "choices, at least two"
        if not right_choices(record):
            return "an answer that is a letter or one of the choices"
    elif own.labels and record.answer not in own.labels:
        return "an answer of the list"
    elif BOX in record.answer:
        return "an answer without boxes"
    return asking.unplaced(record, own)


def target(record: Record, own: Description) -> Mapping[str, Json]:
    """Return the target of a record that lacks nothing; other records may share it."""
    if own.task == "mcq":
        choices, right = _ordered(record, own)
        made: dict[str, Json] = {"choices": choices, "answer": answers.letters(right)}
        return made | ({"type": record.type} if record.type else {})
    answer = record.label if own.task == "classify" else record.answer
    assert answer is not None  # `lacks` has refused the record
    return _short(answer, record.type, own.labels, own.task == "classify")


@lru_cache(maxsize=4096)
def _short(answer: str, kind: str, labels: tuple[str, ...], classifies: bool) -> dict[str, Json]:
    """Return the target of an answer; samples of the same answer share it."""
    made: dict[str, Json] = {"answer": answer}
    if labels or classifies:
        made["labels"] = [answer]
    if labels:
        made["vocabulary"] = _vocabulary(labels)
    if kind:
        made["type"] = kind
    return made


def right_choices(record: Record) -> tuple[int, ...]:
    """Return the numbers of the right choices, from 0; empty if the answer names none."""
    return answers.named_choices(record.answer or "", record.choices)


def letter(record: Record) -> tuple[str, ...]:
    """Return the letter or letters of the right choices, as the source orders them."""
    return tuple(LETTERS[at] for at in right_choices(record))


def summary(own: Description) -> str:
    """Return the line that says what is asked."""
    if own.task == "mcq":
        return "The letter of the right choice, or the letters of several."
    if own.task == "vqa":
        return "A short answer to the question of the row."
    shown = ", ".join(own.labels[:_SHOWN])
    more = f" and {len(own.labels) - _SHOWN} others" if len(own.labels) > _SHOWN else ""
    return f"One of {shown}{more}." if shown else "The class of the image."


@dataclass(frozen=True, slots=True)
class Blank:
    """The `blank` of a task with a short answer."""

    description: Description

    def __call__(self, said: Mapping[str, Json]) -> Mapping[str, Json]:
        """Return a target without the correct answer.

        Raises:
            ValueError: fewer than two choices.
        """
        own = self.description
        made: dict[str, Json] = {key: said[key] for key in ("boxes", "question") if key in said}
        if own.task == "mcq":
            choices = [part.strip() for part in str(said["choices"]).split("|") if part.strip()]
            if not 2 <= len(choices) <= len(LETTERS):
                raise ValueError("choices: two to 26, with | between them")
            listed: list[Json] = list(choices)
            return made | {"choices": listed, "answer": LETTERS[0]}
        if own.labels:
            vocabulary = _vocabulary(own.labels)
            return made | {
                "answer": own.labels[0],
                "labels": [own.labels[0]],
                "vocabulary": vocabulary,
            }
        return made | {"answer": ""}


@lru_cache(maxsize=16)
def _vocabulary(labels: tuple[str, ...]) -> list[Json]:
    return list(labels)  # one list for all samples


def _ordered(record: Record, own: Description) -> tuple[list[Json], list[int]]:
    """Return the choices in the order in which they are shown, and the right ones' numbers."""
    right = right_choices(record)
    order = list(range(len(record.choices)))
    if own.choices == "shuffled":
        order.sort(
            key=lambda at: hashlib.sha256(f"{own.seed}\0{record.id}\0{at}".encode()).digest()
        )
    return [record.choices[at] for at in order], sorted(order.index(each) for each in right)
