"""Writes questions with choices that are true to a generated scene."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from geovlm import scenes

if TYPE_CHECKING:
    import numpy as np

PLACES = (
    ("Top Left", "Top", "Top Right"),
    ("Left", "Center", "Right"),
    ("Bottom Left", "Bottom", "Bottom Right"),
)
_NOUNS = {"building": "building", "storage tank": "storage tank", "airplane": "airplane"}


class Question(NamedTuple):
    """A question about a scene."""

    kind: str
    text: str
    right: str
    wrong: tuple[str, ...]


def compose(rng: np.random.Generator, *, side_px: int = 256) -> scenes.Scene:
    """Draw a scene with one to four objects of one kind each."""
    return scenes.compose(
        rng, size_px=(side_px, side_px), kinds=tuple(_NOUNS), count=(1, 4), road=0.5
    )


def about(scene: scenes.Scene, rng: np.random.Generator) -> list[Question]:
    """Return a question of each kind that the scene can answer."""
    made = [_counting(scene, rng), _presence(scene, rng), _cover(scene, rng)]
    single = alone(scene)
    if single:
        item = single[int(rng.integers(len(single)))]
        made.append(_place(item, scene, rng))
        if item.kind == "building":
            others = _drawn([each for each in scenes.ROOFS if each != item.colour], rng)
            text = "What color is the building in this image?"
            made.append(Question("attribute_recognition", text, item.colour, others))
    return made


def alone(scene: scenes.Scene) -> list[scenes.Item]:
    """Return the objects of which there is one of their kind."""
    return [item for item in scene.items if sum(o.kind == item.kind for o in scene.items) == 1]


def place_of(box: tuple[float, float, float, float], size: tuple[int, int]) -> str:
    """Return the ninth of the image that holds a box's centre: `Top Left`, `Center`."""
    x, y = (box[0] + box[2]) / 2 / size[0], (box[1] + box[3]) / 2 / size[1]
    return PLACES[min(2, int(3 * y))][min(2, int(3 * x))]


def arranged(question: Question, rng: np.random.Generator, *, at: int) -> tuple[list[str], int]:
    """Return the choices in a random order with the right one at a place, and this place."""
    choices = list(_drawn(list(question.wrong), rng))
    place = at % (len(choices) + 1)
    choices.insert(place, question.right)
    return choices, place


def _counting(scene: scenes.Scene, rng: np.random.Generator) -> Question:
    kind = _pick(list(_NOUNS), rng)
    n = sum(item.kind == kind for item in scene.items)
    others = [str(each) for each in range(max(0, n - 2), n + 4) if each != n]
    text = f"How many {_NOUNS[kind]} are visible in the image?"
    return Question("object_counting", text, str(n), _drawn(others, rng)[:3])


def _presence(scene: scenes.Scene, rng: np.random.Generator) -> Question:
    there = {item.kind for item in scene.items}
    wanted = rng.random() < 0.5
    kinds = [kind for kind in _NOUNS if (kind in there) == wanted] or list(_NOUNS)
    kind = _pick(kinds, rng)
    right, wrong = ("Yes", "No") if kind in there else ("No", "Yes")
    text = f"Is a/an {_NOUNS[kind]} present in this image?"
    return Question("object_presence", text, right, (wrong, "can't judge"))


def _cover(scene: scenes.Scene, rng: np.random.Generator) -> Question:
    areas: dict[str, float] = {}
    for name, (x0, y0, x1, y1) in scene.covers:
        areas[name] = areas.get(name, 0.0) + (x1 - x0) * (y1 - y0)
    largest = max(areas, key=lambda name: areas[name])
    others = [each for each in scenes.COVERS if each not in areas]
    text = "Based on the provided image, which land cover takes up most of it?"
    return Question("scene_classification", text, largest, _drawn(others, rng)[:3])


def _place(item: scenes.Item, scene: scenes.Scene, rng: np.random.Generator) -> Question:
    right = place_of(item.box, scene.size_px)
    others = [each for row in PLACES for each in row if each != right]
    text = f"Where is the {_NOUNS[item.kind]} located in this image?"
    return Question("object_localization", text, right, _drawn(others, rng)[:3])


def _pick(many: list[str], rng: np.random.Generator) -> str:
    return many[int(rng.integers(len(many)))]


def _drawn(many: list[str], rng: np.random.Generator) -> tuple[str, ...]:
    return tuple(many[i] for i in rng.permutation(len(many)))
