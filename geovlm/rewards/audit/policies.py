"""Writes completions without looking at an image: each policy answers from the question alone.

A policy knows the question, the sizes of the images, the vocabulary that the task publishes and
statistics of the training answers; never the sample's image or its correct answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeAlias

from geovlm import boxes
from geovlm.boxes import Box
from geovlm.rewards.audit.lessons import BoxHabits, Lessons, Question
from geovlm.rewards.reading import MAX_BOXES

Share: TypeAlias = tuple[float, float, float, float]
"""A box in shares of width and height."""

GRID = (1, 2, 4, 8, 12)
"""Boxes per side of each scale of the grid: 229 boxes in all, fewer than are read."""
REPEATED = 16
"""Number of copies of a repeated box."""
_REASONING = "I answer without looking."
_WHOLE: Share = (0.0, 0.0, 1.0, 1.0)
_CENTRE: Share = (0.25, 0.25, 0.75, 0.75)


class Policy(NamedTuple):
    """A rule for answering without looking at the image."""

    name: str
    write: Callable[[Question], str]
    """Question -> completion, tags included."""


def policies(lessons: Lessons) -> list[Policy]:
    """Return the policies that apply to a task; all but tag stuffing write well-formed completions.

    Always: `empty`, `prompt copy`, `tag stuffing`. Closed answers and label lists: `every label`,
    `two options`, `majority answer`, and with several labels `frequent labels`. Captions: `constant
    caption`, `frequent words`, with facts `every label` (all their values) and `usual facts`; where
    questions name a box, also `caption of the place` and `facts of the place`, learned per third of
    the image and size of that box. Boxes: `whole image`, `centre box`, `mean box`, `one box
    repeated`, `grid` (five scales), `fine grid` (boxes of the usual size, as many as are read) and
    `usual grid` (of the usual size and number). For grounded captions the box policies begin with
    the words of the constant caption. Where boxes have labels, each box policy gives its boxes the
    most frequent label, and once more each of its boxes every label.
    """
    made: list[tuple[str, Callable[[Question], str]]] = [
        ("empty", lambda question: ""),
        ("prompt copy", lambda question: question.text),
        *_closed(lessons),
        *_captions(lessons),
    ]
    if lessons.boxes is not None:
        words = boxes.strip(lessons.captions.get(None, ""))
        made += _boxes(lessons.boxes, words=words, labels=lessons.box_labels)
    return [
        *(Policy(name, _framed(answer)) for name, answer in made),
        Policy("tag stuffing", lambda question: _stuffed(question, lessons)),
    ]


def padded(question: Question, *, answer: str, lessons: Lessons) -> str:
    """Return the completion with the correct answer and more than was asked for appended.

    A grid of boxes is appended if the answer holds boxes, else every option, else every value of a
    fact, else the constant caption.
    """
    more = answer
    if question.boxes(answer, limit=1):
        separator = "; " if lessons.box_labels else ", "
        more = f"{answer}{separator}{_written(_grid(), question, labels=lessons.box_labels[:1])}"
    elif lessons.options(question):
        more = "; ".join([answer, *lessons.options(question)])
    elif lessons.captions:
        more = f"{answer} {'; '.join(lessons.facts) or lessons.captions[None]}"
    return _framed(lambda _: more)(question)


def _framed(answer: Callable[[Question], str]) -> Callable[[Question], str]:
    def write(question: Question) -> str:
        thought = f"<think> {_REASONING} </think>" if question.thinks else ""
        return f"{thought}<answer> {answer(question)} </answer>"

    return write


def _closed(lessons: Lessons) -> Iterator[tuple[str, Callable[[Question], str]]]:
    if not lessons.answers:
        return
    yield "every label", lambda question: "; ".join(lessons.options(question))
    yield "two options", lambda question: " or ".join(lessons.options(question)[:2])
    yield "majority answer", lambda question: next(iter(lessons.answers.get(question.kind, ())), "")
    if lessons.frequent_labels:
        yield "frequent labels", lambda question: "; ".join(lessons.frequent_labels)


def _captions(lessons: Lessons) -> Iterator[tuple[str, Callable[[Question], str]]]:
    if not lessons.captions:
        return
    yield "constant caption", lambda question: lessons.captions[None]
    yield "frequent words", lambda question: lessons.words
    if len(lessons.captions) > 1:
        yield (
            "caption of the place",
            lambda question: lessons.captions.get(question.place, lessons.captions[None]),
        )
    if lessons.facts:
        yield "every label", lambda question: "; ".join(lessons.facts)
        yield "usual facts", lambda question: lessons.usual_facts[None]
    if len(lessons.usual_facts) > 1:
        yield (
            "facts of the place",
            lambda question: lessons.usual_facts.get(question.place, lessons.usual_facts[None]),
        )


def _boxes(
    habits: BoxHabits, *, words: str, labels: tuple[str, ...]
) -> Iterator[tuple[str, Callable[[Question], str]]]:
    width, height = habits.size
    shares: dict[str, list[Share]] = {
        "whole image": [_WHOLE],
        "centre box": [_CENTRE],
        "mean box": [habits.mean],
        "one box repeated": [habits.mean] * REPEATED,
        "grid": _grid(),
        "fine grid": list(_lattice(*_sides(width, height), size=habits.size)),
        "usual grid": _usual_grid(habits),
    }
    for name, listed in shares.items():
        yield name, _drawn(listed, words=words, labels=labels[:1])
        if labels:
            yield f"{name}, every label", _drawn(listed, words=words, labels=labels)


def _grid() -> list[Share]:
    return [box for n in GRID for box in _lattice(n, n, size=(1 / n, 1 / n))]


def _drawn(
    shares: Iterable[Share], *, words: str, labels: tuple[str, ...]
) -> Callable[[Question], str]:
    kept = tuple(shares)
    return lambda question: f"{words} {_written(kept, question, labels=labels)}".strip()


def _written(shares: Iterable[Share], question: Question, *, labels: tuple[str, ...]) -> str:
    """Return boxes as an answer; with labels each box once for each of them."""
    width, height = question.image_sizes[-1]
    scaled = [Box(x0 * width, y0 * height, x1 * width, y1 * height) for x0, y0, x1, y1 in shares]
    if not labels:
        return boxes.write(scaled, question)
    each = [boxes.Labelled(box, label) for box in scaled for label in labels]
    return boxes.write_labelled(each, question)


def _sides(width: float, height: float) -> tuple[int, int]:
    """Return columns and rows of boxes that overlap by half, fewer if the limit requires it."""
    columns, rows = max(1.0, 2 / width), max(1.0, 2 / height)
    shrink = min(1.0, math.sqrt(MAX_BOXES / (columns * rows)))
    columns = max(1.0, columns * shrink)
    return int(columns), max(1, int(min(rows, MAX_BOXES / int(columns))))


def _usual_grid(habits: BoxHabits) -> list[Share]:
    columns = math.ceil(math.sqrt(habits.count))
    rows = math.ceil(habits.count / columns)
    return list(_lattice(columns, rows, size=habits.size))[: habits.count]


def _lattice(columns: int, rows: int, *, size: tuple[float, float]) -> Iterator[Share]:
    """Yield boxes of one size, their centres spread evenly, row by row, clipped to the image."""
    for row in range(rows):
        for column in range(columns):
            x, y = (column + 0.5) / columns, (row + 0.5) / rows
            yield (
                max(0.0, x - size[0] / 2),
                max(0.0, y - size[1] / 2),
                min(1.0, x + size[0] / 2),
                min(1.0, y + size[1] / 2),
            )


def _stuffed(question: Question, lessons: Lessons) -> str:
    """Return every option, fact, caption and grid box, each in its own think and answer tags."""
    parts = [*lessons.options(question), *lessons.facts, *dict.fromkeys(lessons.captions.values())]
    if lessons.boxes is not None:
        parts += [
            _written([box], question, labels=lessons.box_labels[:1])
            for box in _lattice(4, 4, size=(0.25, 0.25))
        ]
    return "".join(f"<think> {part} </think><answer> {part} </answer>" for part in parts)
