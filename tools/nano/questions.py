"""Draws questions about synthetic scenes, with true reasons and answers, to pretrain nano.

Their wording differs on purpose from that of the task plugins: the base model learns the concepts,
fine-tuning teaches the language of the tasks. Some questions name the possible answers, and some
answers have the reason of another question about the place, so that the answer comes from the
images and not from one form of words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from geovlm.scenes import COVERS, DAMAGES, Scene
from tools.nano import pairs, single, views
from tools.nano.views import Place, Turn

INSTRUCTION = "First reason in <think> </think>, then answer in <answer> </answer>."
_OPTIONS = ("Options: {}.", "Choose from {}.", "One of: {}.", "Possible answers: {}.")
_NAMED = 0.4
"""Share of the closed questions that name the possible answers, in random order."""
_OTHER_REASON = 0.3
"""Share of the tagged texts with the reason of another question about the place."""
QUESTIONS = 5
"""Most questions per place: one pass of the vision tower serves them all."""
_FOCUS = 4.0
"""Times that a family in focus is asked as often as else."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One training example; images are (84, 84, 3) uint8, oldest first."""

    family: str
    images: tuple[np.ndarray, ...]
    question: str
    text: str
    answer: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A kind of question, the places it is asked about, and its weight among their questions."""

    setting: str
    weight: float
    build: Callable[[np.random.Generator, Place], Turn | None]
    options: tuple[str, ...] = ()
    """Possible answers of a closed question."""
    most: int = 1
    """Questions of this kind about one place."""


def draw(rng: np.random.Generator, *, family: str = "", tagged: float = 0.5) -> Example:
    """Return a random example of `family`, or of a family drawn by weight.

    With probability `tagged` the question ends with `INSTRUCTION` and the text has the tags.
    """
    while True:
        setting = FAMILIES[family].setting if family else _setting(rng)
        place = SETTINGS[setting][0](rng)
        for name in [family] if family else _order(rng, setting):
            if (turn := FAMILIES[name].build(rng, place)) is not None:
                return _example(rng, name, place, turn, tagged=tagged)


def draw_pack(
    rng: np.random.Generator,
    *,
    families: tuple[str, ...] = (),
    focus: tuple[str, ...] = (),
    tagged: float = 0.5,
    questions: int = QUESTIONS,
) -> tuple[Place, list[Example]]:
    """Return a random place and up to `questions` examples about it.

    With `families`, all questions are of these, which have one image. Families in `focus` are asked
    four times as often.
    """
    setting = "single" if families else _setting(rng)
    place = SETTINGS[setting][0](rng)
    turns: list[tuple[str, Turn]] = []
    for name in _order(rng, setting, focus=focus):
        if len(turns) == questions:
            break
        if families and name not in families:
            continue
        if (turn := FAMILIES[name].build(rng, place)) is not None:
            turns.append((name, turn))
    reasons = [turn.reason for _, turn in turns]
    examples = []
    for name, turn in turns:
        if rng.random() < _OTHER_REASON:
            turn = replace(turn, reason=views.pick(rng, reasons))
        examples.append(_example(rng, name, place, turn, tagged=tagged))
    return place, examples


def _example(
    rng: np.random.Generator, family: str, place: Place, turn: Turn, *, tagged: float
) -> Example:
    question, text = turn.question, turn.answer
    options = FAMILIES[family].options
    if options and rng.random() < _NAMED:
        listed = ", ".join(options[i] for i in rng.permutation(len(options)))
        question = f"{question} {views.pick(rng, _OPTIONS).format(listed)}"
    if rng.random() < tagged:
        question = f"{question} {INSTRUCTION}"
        text = f"<think> {turn.reason} </think><answer> {turn.answer} </answer>"
    return Example(
        family=family, images=place.images, question=question, text=text, answer=turn.answer
    )


def _setting(rng: np.random.Generator) -> str:
    shares = np.cumsum([share for _, share in SETTINGS.values()])
    return list(SETTINGS)[int(np.searchsorted(shares, rng.random() * shares[-1]))]


def _order(rng: np.random.Generator, setting: str, *, focus: tuple[str, ...] = ()) -> list[str]:
    """Return the families of a setting in random order, heavy ones first more often.

    A family occurs as often as it may be asked about a place.
    """
    own = {name: family for name, family in FAMILIES.items() if family.setting == setting}
    names = [name for name, family in own.items() for _ in range(family.most)]
    weights = np.array([FAMILIES[name].weight * (_FOCUS if name in focus else 1) for name in names])
    return [names[i] for i in np.argsort(rng.exponential(size=len(names)) / weights)]


def _on_scene(
    build: Callable[[np.random.Generator, Scene], Turn | None],
) -> Callable[[np.random.Generator, Place], Turn | None]:
    return lambda rng, place: build(rng, place.scene)


def _built(rng: np.random.Generator, place: Place) -> Turn | None:
    return pairs.built(rng, place.scene, place.earlier) if place.earlier else None


SETTINGS: dict[str, tuple[Callable[[np.random.Generator], Place], float]] = {
    "single": (views.single, 0.65),
    "pair": (views.pair, 0.30),
    "additions": (views.additions, 0.05),
}
"""Name -> how to draw a place, and the share of such places."""

_YES_NO = ("yes", "no")
FAMILIES: dict[str, Family] = {
    name: Family(setting=setting, weight=weight, build=build, options=options, most=most)
    for name, setting, weight, most, build, options in (
        ("count", "single", 2.0, 2, _on_scene(single.count), ()),
        ("presence", "single", 2.0, 3, _on_scene(single.presence), _YES_NO),
        ("land cover", "single", 0.6, 1, _on_scene(single.land_cover), tuple(COVERS)),
        ("settlement", "single", 0.4, 1, _on_scene(single.settlement), ("rural", "urban")),
        ("comparison", "single", 0.8, 1, _on_scene(single.compare), _YES_NO),
        ("one box", "single", 2.0, 1, _on_scene(single.one_box), ()),
        ("all boxes", "single", 2.0, 1, _on_scene(single.all_boxes), ()),
        ("boxed objects", "single", 1.2, 1, _on_scene(single.boxed_objects), ()),
        ("object at box", "single", 1.0, 2, _on_scene(single.what), ()),
        ("caption", "single", 0.6, 1, _on_scene(single.caption), ()),
        ("disaster", "pair", 0.6, 1, _on_scene(pairs.disaster), tuple(pairs.SIGNS)),
        ("any damage", "pair", 0.6, 1, _on_scene(pairs.any_hit), _YES_NO),
        ("damage count", "pair", 1.0, 1, _on_scene(pairs.count_hit), ()),
        ("damage level", "pair", 2.0, 3, _on_scene(pairs.level), tuple(DAMAGES)),
        ("damage boxes", "pair", 2.4, 1, _on_scene(pairs.hit_boxes), ()),
        ("damage boxes at", "pair", 1.4, 1, _on_scene(pairs.hit_boxes_at), ()),
        ("damage report", "pair", 0.6, 1, _on_scene(pairs.account), ()),
        ("new objects", "additions", 1.0, 1, _built, ()),
    )
}

SEEING = ("count", "presence", "land cover", "one box", "object at box", "boxed objects")
"""Families that the language model begins with: one image and short answers."""
