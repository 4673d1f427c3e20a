"""Draws questions about synthetic scenes, with true reasons and answers, to pretrain nano.

Their wording differs on purpose from that of the task plugins: the base model learns the concepts,
fine-tuning teaches the language of the tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tools.nano import pairs, single
from tools.nano.views import Turn, Views

INSTRUCTION = "First reason in <think> </think>, then answer in <answer> </answer>."


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One training example; images are (84, 84, 3) uint8, oldest first."""

    family: str
    images: tuple[np.ndarray, ...]
    question: str
    text: str
    answer: str


def draw(rng: np.random.Generator, *, family: str = "", tagged: float = 0.5) -> Example:
    """Return a random example of `family`, or of a family drawn by weight.

    With probability `tagged` the question ends with `INSTRUCTION` and the text has the tags.
    """
    family = family or _family(rng)
    builder, _ = FAMILIES[family]
    images, turn = builder(rng)
    question, text = turn.question, turn.answer
    if rng.random() < tagged:
        question = f"{question} {INSTRUCTION}"
        text = f"<think> {turn.reason} </think><answer> {turn.answer} </answer>"
    return Example(family=family, images=images, question=question, text=text, answer=turn.answer)


def turn(rng: np.random.Generator) -> Turn:
    """Return the words of a random example."""
    builder, _ = FAMILIES[_family(rng)]
    return builder(rng)[1]


def _family(rng: np.random.Generator) -> str:
    return list(FAMILIES)[int(np.searchsorted(_SHARES, rng.random()))]


FAMILIES: dict[str, tuple[Callable[[np.random.Generator], Views], float]] = {
    "count": (single.count, 0.9),
    "presence": (single.presence, 1.0),
    "land cover": (single.land_cover, 0.9),
    "settlement": (single.settlement, 0.5),
    "comparison": (single.compare, 0.8),
    "one box": (single.one_box, 3.0),
    "all boxes": (single.all_boxes, 2.4),
    "boxed objects": (single.boxed_objects, 1.2),
    "object at box": (single.what, 1.0),
    "caption": (single.caption, 0.8),
    "disaster": (pairs.disaster, 0.6),
    "any damage": (pairs.any_hit, 0.6),
    "damage count": (pairs.count_hit, 0.8),
    "damage level": (pairs.level, 1.2),
    "damage boxes": (pairs.hit_boxes, 1.6),
    "damage report": (pairs.account, 0.6),
    "new objects": (pairs.built, 0.5),
}
"""Name -> builder and weight."""

SEEING = ("count", "presence", "land cover", "one box", "object at box", "boxed objects")
"""Families that the language model begins with: one image and short answers."""

_SHARES = np.cumsum([weight for _, weight in FAMILIES.values()])
_SHARES = _SHARES / _SHARES[-1]
