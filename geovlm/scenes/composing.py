"""Composes random Earth-observation scenes: the built-in sample data, and what nano trains on.

A `Scene` is a description (land cover, objects, road, disaster); `painting.render` draws it. All
geometry and texture is relative to the frame, so one generator state gives the same picture at
84 px and at 1024 px, up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

Box = tuple[float, float, float, float]
"""`(x0, y0, x1, y1)` in pixels, y down, half-open."""

COVERS: tuple[str, ...] = ("forest", "cropland", "pasture", "water", "urban", "bare soil")
KINDS: tuple[str, ...] = ("building", "storage tank", "airplane", "ship")
ROOFS: tuple[str, ...] = ("red", "blue", "white", "grey")
DAMAGES: tuple[str, ...] = ("no-damage", "minor-damage", "major-damage", "destroyed")
"""Values of xBD's `subtype`, mildest first."""
DISASTERS: tuple[str, ...] = ("volcano", "fire", "earthquake", "flood", "tsunami", "wind")

_SIDE = (0.15, 0.34)  # smallest and largest item side, as a share of the frame
_GAP = 0.035  # least distance between items, as a share of the frame


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One object.

    With `angle_deg`, the object is drawn rotated about the centre of `box`; `box` is then the box
    before rotation.
    """

    kind: str
    """One of `KINDS`."""
    box: Box
    colour: str
    """One of `ROOFS`."""
    damage: str = "no-damage"
    """One of `DAMAGES`; only buildings show it."""
    angle_deg: float = 0.0
    """Degrees, clockwise on screen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """Everything that a picture shows."""

    size_px: tuple[int, int]
    """Width and height."""
    covers: tuple[tuple[str, Box], ...]
    """(land cover, box); together the boxes fill the frame."""
    items: tuple[Item, ...]
    """Objects from left to right; they do not overlap."""
    road: tuple[Box, ...] = ()
    disaster: str = ""
    """One of `DISASTERS`; empty: none."""
    seed: int
    """Seed of textures and damage in `render`."""


def compose(
    rng: np.random.Generator,
    *,
    size_px: tuple[int, int] = (256, 256),
    kinds: Sequence[str] = ("building",),
    count: tuple[int, int] = (0, 4),
    covers: Sequence[str] = COVERS,
    n_covers: tuple[int, int] = (1, 3),
    road: float = 0.3,
    disaster: str | None = "",
    damages: Sequence[str] = DAMAGES,
) -> Scene:
    """Draw a random scene.

    Args:
        rng: Source of all randomness; the same state gives the same scene at any `size_px`, up to
            rounding of boxes.
        size_px: Width and height.
        kinds: Kinds of object to choose from, a subset of `KINDS`.
        count: Fewest and most objects. Up to 6 fit; of more, some may be left out.
        covers: Land covers to choose from, a subset of `COVERS`.
        n_covers: Fewest and most land covers in one scene.
        road: Probability of a road.
        disaster: One of `DISASTERS`, empty for none, or `None` to draw one. A disaster gives each
            building one of `damages`.
        damages: Damage levels to draw from with equal chance.
    """
    n = int(rng.integers(n_covers[0], n_covers[1] + 1))
    names = [covers[i] for i in rng.permutation(len(covers))[: min(n, len(covers))]]
    land = list(zip(names, _partition(rng, n=len(names)), strict=True))
    strips: tuple[Box, ...] = ()
    if rng.random() < road:
        at, wide, across = rng.uniform(0.1, 0.9), rng.uniform(0.04, 0.06), rng.random() < 0.5
        strips = ((0.0, at, 1.0, at + wide) if across else (at, 0.0, at + wide, 1.0),)
    if disaster is None:
        disaster = DISASTERS[int(rng.integers(len(DISASTERS)))]
    wanted = int(rng.integers(count[0], count[1] + 1))
    shapes: list[tuple[str, Box]] = []
    for attempt in range(8):
        shapes = _place(rng, wanted, kinds=kinds, land=land, strips=strips, tight=attempt)
        if len(shapes) == wanted:
            break
    items = []
    for kind, box in sorted(shapes, key=lambda shape: shape[1]):
        colour = "white" if kind == "storage tank" else ROOFS[int(rng.integers(len(ROOFS)))]
        hit = disaster and kind == "building"
        damage = damages[int(rng.integers(len(damages)))] if hit else "no-damage"
        items.append(Item(kind=kind, box=_to_px(box, size_px), colour=colour, damage=damage))
    return Scene(
        size_px=size_px,
        covers=tuple((name, _to_px(part, size_px)) for name, part in land),
        items=tuple(items),
        road=tuple(_to_px(strip, size_px) for strip in strips),
        disaster=disaster,
        seed=int(rng.integers(2**31)),
    )


def _partition(rng: np.random.Generator, *, n: int) -> list[Box]:
    """Return `n` boxes that fill the unit square: strips; three may be a half and two quarters."""
    cuts = [(i + 1 + float(rng.uniform(-0.25, 0.25))) / n for i in range(n - 1)]
    edges = [0.0, *cuts, 1.0]
    upright, quartered = rng.random() < 0.5, rng.random() < 0.5
    if n == 3 and quartered:
        a, b = float(rng.uniform(0.4, 0.6)), float(rng.uniform(0.4, 0.6))
        boxes: list[Box] = [(0.0, 0.0, a, 1.0), (a, 0.0, 1.0, b), (a, b, 1.0, 1.0)]
    else:
        boxes = [(low, 0.0, high, 1.0) for low, high in pairwise(edges)]
    return boxes if upright else [(y0, x0, y1, x1) for x0, y0, x1, y1 in boxes]


def _place(
    rng: np.random.Generator,
    wanted: int,
    *,
    kinds: Sequence[str],
    land: list[tuple[str, Box]],
    strips: tuple[Box, ...],
    tight: int,
) -> list[tuple[str, Box]]:
    """Return kinds and boxes in the unit square, kept apart; ships on water, the rest on land."""
    placed: list[tuple[str, Box]] = []
    top = _SIDE[1] - (_SIDE[1] - _SIDE[0]) * min(1.0, tight / 4)
    for _ in range(wanted):
        kind = kinds[int(rng.integers(len(kinds)))]
        for attempt in range(40):
            w, h = rng.uniform(_SIDE[0], top, 2)
            if kind in ("storage tank", "airplane"):
                h = w
            elif kind == "ship":
                long = max(w, h, 0.22)
                w, h = (long, 0.55 * long) if rng.random() < 0.5 else (0.55 * long, long)
            x0, y0 = rng.uniform(0.01, 0.99 - w), rng.uniform(0.01, 0.99 - h)
            box = (float(x0), float(y0), float(x0 + w), float(y0 + h))
            if any(_near(box, other, gap=_GAP) for _, other in placed):
                continue
            if attempt < 20 and any(_near(box, strip, gap=0.0) for strip in strips):
                continue
            if attempt < 20 and (_cover_at(land, box) == "water") != (kind == "ship"):
                continue
            placed.append((kind, box))
            break
    return placed


def _cover_at(land: list[tuple[str, Box]], box: Box) -> str:
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return next(name for name, (x0, y0, x1, y1) in land if x0 <= x <= x1 and y0 <= y <= y1)


def _near(a: Box, b: Box, *, gap: float) -> bool:
    return a[0] < b[2] + gap and b[0] < a[2] + gap and a[1] < b[3] + gap and b[1] < a[3] + gap


def _to_px(box: Box, size_px: tuple[int, int]) -> Box:
    """Round to whole pixels; neighbours that share an edge keep sharing it."""
    sides = zip(box, size_px * 2, strict=True)
    x0, y0, x1, y1 = (float(round(share * length)) for share, length in sides)
    return x0, y0, x1, y1
