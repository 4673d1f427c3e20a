"""Writes the questions of tasks over rows: the description's wording, filled in for a sample."""

from __future__ import annotations

from collections.abc import Sequence

from geovlm import boxes
from geovlm.api import Asked, PromptContext, Sample
from geovlm.boxes import Box
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.records import BOX, Record

QUESTION = "{question}"
"""Place of the row's own question in the wording of a description."""


def question(own: Description, sample: Sample, ctx: PromptContext, *, default: str) -> str:
    """Return the question of a sample: the description's wording, else the row's, else `default`.

    `{question}` stands for the row's question, `{label}` and `{phrase}` for those of the sample,
    `{box}` for its boxes, in the model's frame.
    """
    text = own.question or sample.question or default
    text = text.replace(QUESTION, sample.question)
    for name in ("label", "phrase"):
        text = text.replace(f"{{{name}}}", str(sample.target.get(name, "")))
    return placed(text, boxes.target_boxes(sample.target), ctx) if BOX in text else text


def placed(text: str, held: Sequence[Box], ctx: PromptContext) -> str:
    """Return a text with a box for each `{box}`; a single `{box}` stands for all of them."""
    first, *rest = text.split(BOX)
    if len(rest) == 1:
        return first + boxes.write(held, ctx) + rest[0]
    pairs = zip(held, rest, strict=True)
    return first + "".join(boxes.write([box], ctx) + after for box, after in pairs)


def marked(record: Record, own: Description) -> bool:
    """True if the question of a record marks a box."""
    return BOX in _wording(record, own)


def unplaced(record: Record, own: Description) -> str:
    """Return what a record lacks for a question with boxes; empty if nothing."""
    if BOX not in own.question and BOX not in record.question:
        return ""
    places, held = _wording(record, own).count(BOX), len(record.boxes or ())
    return "" if not places or (held and places in (1, held)) else "the boxes of its question"


def _wording(record: Record, own: Description) -> str:
    return (own.question or record.question).replace(QUESTION, record.question)


def marks(own: Description) -> bool:
    """True if every question of a description marks a box."""
    return BOX in own.question


def asks(own: Description, *, question: bool) -> tuple[Asked, ...]:
    """Return what `geovlm predict` asks: the boxes that the wording marks, and a question."""
    asked = [Asked(name="boxes", summary="what the question is about")] if marks(own) else []
    if question:
        asked.append(Asked(name="question", summary="such as 'Is there a road?'"))
    return tuple(asked)
