"""Policies that never look at an image: each writes a completion from the question alone.

A policy knows the question, the sizes of the images, the vocabulary that the task publishes, and
what the training split's gold teaches; never the sample's image or gold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeAlias

from geovlm import boxes
from geovlm.rewards.audit.lessons import Asked, BoxHabits, Lessons
from geovlm.rewards.reading import MAX_BOXES

Share: TypeAlias = tuple[float, float, float, float]
"""A box in shares of width and height."""

GRID = (1, 2, 4, 8, 12)
"""Boxes per side of the grid's scales: 229 boxes, under the limit of those that are read."""
REPEATED = 16
"""How often the policies that repeat a box do so."""
_THOUGHT = "I answer without looking."
_WHOLE: Share = (0.0, 0.0, 1.0, 1.0)
_CENTRE: Share = (0.25, 0.25, 0.75, 0.75)


class Policy(NamedTuple):
    """A way to answer without looking."""

    name: str
    write: Callable[[Asked], str]
    """Question -> completion, tags included."""


def policies(lessons: Lessons) -> list[Policy]:
    """Return the policies that apply to a task; well-formed completions but for tag stuffing.

    Always: `empty`, `prompt copy`, `tag stuffing`. Closed answers and label lists: `every label`,
    `two options`, `majority answer`, and with several labels `frequent labels`. Captions: `constant
    caption`, `frequent words`, with facts `every label` (all their values) and `usual facts`; where
    questions name a box, also `caption of the place` and `facts of the place`, learned per third of
    the image and size of that box. Boxes: `whole image`, `centre box`, `mean box`, `one box
    repeated`, `grid` (five scales), `fine grid` (boxes of the usual size, as many as are read) and
    `usual grid` (of the usual size and number). A grounded caption's box policies speak the
    constant caption's words too.
    """
    made: list[tuple[str, Callable[[Asked], str]]] = [
        ("empty", lambda asked: ""),
        ("prompt copy", lambda asked: asked.question),
        *_closed(lessons),
        *_captions(lessons),
    ]
    if lessons.boxes is not None:
        made += _boxes(lessons.boxes, said=boxes.strip(lessons.captions.get(None, "")))
    return [
        *(Policy(name, _framed(answer)) for name, answer in made),
        Policy("tag stuffing", lambda asked: _stuffed(asked, lessons)),
    ]


def padded(asked: Asked, *, answer: str, lessons: Lessons) -> str:
    """Return the completion with the gold answer and, behind it, more than was asked for.

    A grid of boxes where the answer holds boxes, else every option, else every value of a fact,
    else the constant caption.
    """
    more = answer
    if boxes.parse(answer, asked, limit=1):
        more = f"{answer}, {_written(_grid(), asked)}"
    elif lessons.options(asked):
        more = "; ".join([answer, *lessons.options(asked)])
    elif lessons.captions:
        more = f"{answer} {'; '.join(lessons.facts) or lessons.captions[None]}"
    return _framed(lambda _: more)(asked)


def _framed(answer: Callable[[Asked], str]) -> Callable[[Asked], str]:
    return lambda asked: f"<think> {_THOUGHT} </think><answer> {answer(asked)} </answer>"


def _closed(lessons: Lessons) -> Iterator[tuple[str, Callable[[Asked], str]]]:
    if not lessons.answers:
        return
    yield "every label", lambda asked: "; ".join(lessons.options(asked))
    yield "two options", lambda asked: " or ".join(lessons.options(asked)[:2])
    yield "majority answer", lambda asked: next(iter(lessons.answers.get(asked.kind, ())), "")
    if lessons.frequent_labels:
        yield "frequent labels", lambda asked: "; ".join(lessons.frequent_labels)


def _captions(lessons: Lessons) -> Iterator[tuple[str, Callable[[Asked], str]]]:
    if not lessons.captions:
        return
    yield "constant caption", lambda asked: lessons.captions[None]
    yield "frequent words", lambda asked: lessons.words
    if len(lessons.captions) > 1:
        yield (
            "caption of the place",
            lambda asked: lessons.captions.get(asked.place, lessons.captions[None]),
        )
    if lessons.facts:
        yield "every label", lambda asked: "; ".join(lessons.facts)
        yield "usual facts", lambda asked: lessons.usual_facts[None]
    if len(lessons.usual_facts) > 1:
        yield (
            "facts of the place",
            lambda asked: lessons.usual_facts.get(asked.place, lessons.usual_facts[None]),
        )


def _boxes(habits: BoxHabits, *, said: str) -> Iterator[tuple[str, Callable[[Asked], str]]]:
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
        yield name, _drawn(listed, said=said)


def _grid() -> list[Share]:
    return [box for n in GRID for box in _lattice(n, n, size=(1 / n, 1 / n))]


def _drawn(shares: Iterable[Share], *, said: str) -> Callable[[Asked], str]:
    kept = tuple(shares)
    return lambda asked: f"{said} {_written(kept, asked)}".strip()


def _written(shares: Iterable[Share], asked: Asked) -> str:
    width, height = asked.image_sizes[-1]
    scaled = ((x0 * width, y0 * height, x1 * width, y1 * height) for x0, y0, x1, y1 in shares)
    return boxes.write(scaled, asked)


def _sides(width: float, height: float) -> tuple[int, int]:
    """Return columns and rows of boxes that overlap by half, as far as the limit allows."""
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


def _stuffed(asked: Asked, lessons: Lessons) -> str:
    """Return every option, fact, caption or box of a grid in think and answer tags of its own."""
    parts = [*lessons.options(asked), *lessons.facts, *dict.fromkeys(lessons.captions.values())]
    if lessons.boxes is not None:
        parts += [_written([box], asked) for box in _lattice(4, 4, size=(0.25, 0.25))]
    return "".join(f"<think> {part} </think><answer> {part} </answer>" for part in parts)
