"""Draws scenes as nano sees them, and describes their content in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from geovlm.scenes import COVERS, DAMAGES, KINDS, ROOFS, Item, Scene, compose, render
from geovlm.scenes.composing import Box
from tools.nano.architecture import IMAGE_SIDE_PX


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One question, why the answer holds, and the answer."""

    question: str
    reason: str
    answer: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """A scene as nano sees it; several questions are asked about one."""

    scene: Scene
    """The state in the last image."""
    images: tuple[np.ndarray, ...]
    """(84, 84, 3) uint8, oldest first."""
    earlier: Scene | None = None
    """The state in the first of two images; `None` for one image."""

    @property
    def states(self) -> tuple[tuple[Scene, bool], ...]:
        """The scene of every image, and whether it is shown before its disaster."""
        if self.earlier is None:
            return ((self.scene, False),)
        return ((self.earlier, bool(self.scene.disaster)), (self.scene, False))


def pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    """Draw one of `options` with equal chance."""
    return options[int(rng.integers(len(options)))]


def draw_scene(rng: np.random.Generator, *, pair: bool = False, least: int = 0) -> Scene:
    """Draw a random scene at one to three times nano's size; a pair has a disaster."""
    size = IMAGE_SIDE_PX * int(rng.choice((1, 2, 3), p=(0.7, 0.15, 0.15)))
    kinds: Sequence[str] = ("building",)
    if rng.random() < (0.15 if pair else 0.6):
        kinds = [KINDS[i] for i in rng.permutation(len(KINDS))[: int(rng.integers(1, 4))]]
    damages = ("no-damage",) if rng.random() < 0.25 else DAMAGES
    return compose(
        rng,
        size_px=(size, size),
        kinds=("building",) if pair else kinds,
        count=(least, 4),
        disaster=None if pair else "",
        damages=damages,
    )


def view(rng: np.random.Generator, scene: Scene, *, before: bool = False) -> np.ndarray:
    """Return the scene as nano sees it, with random gain and offset per channel."""
    pixels = render(scene, when="pre" if before else "post")
    if scene.size_px[0] != IMAGE_SIDE_PX:
        side = (IMAGE_SIDE_PX, IMAGE_SIDE_PX)
        pixels = np.asarray(Image.fromarray(pixels).resize(side, Image.Resampling.BICUBIC))
    gain = rng.uniform(0.92, 1.08, 3) * rng.uniform(0.92, 1.08)
    noise = rng.standard_normal(pixels.shape, np.float32) * 2
    jittered = pixels * gain.astype(np.float32) + rng.uniform(-8, 8) + noise
    return np.clip(jittered, 0, 255).astype(np.uint8)


def single(rng: np.random.Generator) -> Place:
    """Draw a scene of one image, at times with few kinds or much urban ground."""
    choice = rng.random()
    if choice < 0.1:
        size = (IMAGE_SIDE_PX, IMAGE_SIDE_PX)
        kinds = [KINDS[i] for i in rng.permutation(len(KINDS))[:2]]
        scene = compose(rng, size_px=size, kinds=kinds, count=(1, 4))
    elif choice < 0.18:
        size = (IMAGE_SIDE_PX, IMAGE_SIDE_PX)
        covers = ("urban", pick(rng, [name for name in COVERS if name != "urban"]))
        scene = compose(rng, size_px=size, count=(1, 4), covers=covers, n_covers=(2, 2))
    else:
        scene = draw_scene(rng)
    return Place(scene=scene, images=(view(rng, scene),))


def pair(rng: np.random.Generator) -> Place:
    """Draw a scene before and after its disaster."""
    scene = draw_scene(rng, pair=True)
    images = (view(rng, scene, before=True), view(rng, scene))
    return Place(scene=scene, images=images, earlier=scene)


def additions(rng: np.random.Generator) -> Place:
    """Draw a scene before and after objects were added."""
    scene = draw_scene(rng, least=1)
    gone = int(rng.integers(0, len(scene.items) + 1))
    kept = sorted(rng.permutation(len(scene.items))[gone:])
    earlier = replace(scene, items=tuple(scene.items[i] for i in kept))
    return Place(scene=scene, images=(view(rng, earlier), view(rng, scene)), earlier=earlier)


def place(box: Box, scene: Scene) -> str:
    """Return the place of the centre of `box`, in thirds of the frame."""
    column = min(2, int(3 * (box[0] + box[2]) / 2 / scene.size_px[0]))
    row = min(2, int(3 * (box[1] + box[3]) / 2 / scene.size_px[1]))
    words = (("upper", "", "lower")[row], ("left", "centre", "right")[column])
    return " ".join(word for word in words if word)


def corners(box: Box, scene: Scene) -> str:
    """Return `box` as the model writes it: whole pixels of the 84 px image."""
    values = (round(value * IMAGE_SIDE_PX / scene.size_px[0]) for value in box)
    return "[" + ", ".join(str(value) for value in values) + "]"


def box_list(items: Sequence[Item], scene: Scene) -> str:
    """Return boxes of `items` as the model writes them."""
    return ", ".join(corners(item.box, scene) for item in items) or "none"


def plural(kind: str, n: int = 2) -> str:
    """Return the noun for `n` things."""
    return kind if n == 1 else kind + "s"


def listing(items: Sequence[Item], scene: Scene) -> str:
    """Return colour, kind and place of every item."""
    words = [f"{item.colour} {item.kind} {place(item.box, scene)}" for item in items]
    return ", ".join(words) or "nothing there"


def states(items: Sequence[Item], scene: Scene) -> str:
    """Return place and damage of every item."""
    return ", ".join(f"{place(i.box, scene)} {i.damage}" for i in items) or "nothing there"


def ground_covers(scene: Scene) -> str:
    """Return the land covers, in the order of `COVERS`."""
    return ", ".join(sorted((name for name, _ in scene.covers), key=COVERS.index))


def wanted_items(rng: np.random.Generator, scene: Scene) -> tuple[str, list[Item]]:
    """Return a phrase such as "red building" and the items that it names, often at least one."""
    kind = pick(rng, KINDS)
    if scene.items and rng.random() < 0.75:
        kind = scene.items[int(rng.integers(len(scene.items)))].kind
    items = [item for item in scene.items if item.kind == kind]
    if kind == "storage tank" or rng.random() < 0.6:
        return kind, items
    colour = items[0].colour if items and rng.random() < 0.5 else pick(rng, ROOFS)
    return f"{colour} {kind}", [item for item in items if item.colour == colour]


def fitting_names(item: Item, scene: Scene) -> list[str]:
    """Return phrases that fit this item and no other of the scene."""
    found = [
        (item.kind, [i for i in scene.items if i.kind == item.kind]),
        (
            f"{item.colour} {item.kind}",
            [i for i in scene.items if (i.kind, i.colour) == (item.kind, item.colour)],
        ),
        (
            f"{item.kind} at the {place(item.box, scene)}",
            [
                i
                for i in scene.items
                if i.kind == item.kind and place(i.box, scene) == place(item.box, scene)
            ],
        ),
    ]
    return [phrase for phrase, items in found if len(items) == 1]


def summary(items: Sequence[Item]) -> str:
    """Return counts of items by colour and kind."""
    groups: dict[str, int] = {}
    for item in items:
        groups[f"{item.colour} {item.kind}"] = groups.get(f"{item.colour} {item.kind}", 0) + 1
    return " and ".join(f"{n} {plural(name, n)}" for name, n in groups.items()) or "no objects"


def ask(rng: np.random.Generator, questions: Sequence[str], reason: str, answer: str) -> Turn:
    """Return a turn with one of `questions`."""
    return Turn(question=pick(rng, questions), reason=reason + ".", answer=answer)
