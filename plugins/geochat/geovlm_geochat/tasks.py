"""Writes questions, answers and reasoning of the five tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from geovlm import boxes
from geovlm.api import PromptContext, Sample, Turn
from geovlm.boxes import Box

_NAMED = 4  # positions or phrases that a reasoning lists; the others are counted


def classify_samples(record: Sample) -> Iterable[Sample]:
    """Yield the record if it asks for the class of the scene."""
    return _only(record, kind="classify")


def vqa_samples(record: Sample) -> Iterable[Sample]:
    """Yield the record if it asks for a word or a phrase."""
    return _only(record, kind="vqa")


def caption_samples(record: Sample) -> Iterable[Sample]:
    """Yield the record if it asks for the content of a box."""
    return _only(record, kind="caption")


def refer_samples(record: Sample) -> Iterable[Sample]:
    """Yield the record if it asks for the boxes of a phrase."""
    return _only(record, kind="refer")


def ground_samples(record: Sample) -> Iterable[Sample]:
    """Yield the record if it asks for a description with boxes."""
    return _only(record, kind="ground")


def classify(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask the data set's question with its own list of classes."""
    target: Any = sample.target
    label, count = target["answer"], len(target["vocabulary"])
    return Turn(
        question=sample.question,
        answer=label,
        reasoning=f"One of {count} classes fits the whole image. It shows {label}.",
    )


def vqa(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask the data set's question."""
    answer = str(sample.target["answer"])
    shown = {
        "yes_no": f"I look for what the question names. The image says {answer}.",
        "number": f"The question asks for a number. In the image it is {answer}.",
    }
    reasoning = shown.get(
        str(sample.target["type"]), f"I look at what the question names. It fits {answer}."
    )
    return Turn(question=sample.question, answer=answer, reasoning=reasoning)


def caption(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask the data set's question, with its box in the model's frame."""
    held = boxes.target_boxes(sample.target)
    target: Any = sample.target
    facts = target["facts"]
    seen = [facts[name] for name in ("colour", "size", "object") if name in facts]
    where = position(held[0], ctx=ctx)
    place = f"There are {len(held)} boxes, the first" if len(held) > 1 else "The box is"
    reasoning = f"{place} at the {where}. {_seen(seen)}"
    question = _spoken(target["pieces"], held=held, ctx=ctx)
    return Turn(question=question, answer=target["captions"][0], reasoning=reasoning)


def refer(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for the objects of a phrase; the answer is boxes."""
    held = boxes.target_boxes(sample.target)
    question = f"{_sentence(sample.question)} Answer with {_shape(ctx)}."
    where = [position(box, ctx=ctx) for box in held]
    if len(held) == 1:
        reasoning = f"One object fits. It is at the {where[0]}."
    else:
        counted = Counter(where).most_common(_NAMED)
        listed = ", ".join(f"{count} at the {place}" for place, count in counted)
        reasoning = f"{len(held)} objects fit: {listed}."
        if len(set(where)) > _NAMED:
            reasoning = f"{len(held)} objects fit, among them {listed}."
    return Turn(question=question, answer=boxes.write(held, ctx), reasoning=reasoning)


def ground(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for a description with boxes after its phrases."""
    held = boxes.target_boxes(sample.target)
    question = f"{_sentence(sample.question)} Write {_shape(ctx)} after each phrase."
    where = Counter(position(box, ctx=ctx) for box in held).most_common(_NAMED)
    listed = ", ".join(f"{count} at the {place}" for place, count in where)
    noun = "object" if len(held) == 1 else "objects"
    return Turn(
        question=question,
        answer=_spoken(sample.target["pieces"], held=held, ctx=ctx),
        reasoning=f"I mark {len(held)} {noun}: {listed}.",
    )


def position(box: Box, *, ctx: PromptContext) -> str:
    """Return the third of the image with the centre of a box: `top left`, `right`, `center`."""
    width, height = ctx.image_sizes[-1]
    across, down = (box.x0 + box.x1) / 2 / width, (box.y0 + box.y1) / 2 / height
    rows = "top" if down < 1 / 3 else "bottom" if down > 2 / 3 else ""
    columns = "left" if across < 1 / 3 else "right" if across > 2 / 3 else ""
    return f"{rows} {columns}".strip() or "center"


def _only(record: Sample, *, kind: str) -> Iterable[Sample]:
    return (record,) if record.target["kind"] == kind else ()


def _seen(words: Sequence[str]) -> str:
    return f"Inside I see: {' '.join(words)}." if words else "I describe what is inside."


def _spoken(pieces: Any, *, held: Sequence[Box], ctx: PromptContext) -> str:
    """Return the pieces as text, with their boxes in the model's frame.

    Boxes follow one another with a space, so that `geovlm.boxes.strip` restores the bare text.
    """
    said: list[str] = []
    for text, places in pieces:
        said.append(text)
        said += [boxes.write([held[at]], ctx) for at in places]
    return " ".join(part for part in said if part)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _shape(ctx: PromptContext) -> str:
    return "boxes [x0, y0, x1, y1, angle]" if ctx.profile.box_angle else "boxes [x0, y0, x1, y1]"
