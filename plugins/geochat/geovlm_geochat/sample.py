"""Generates a small GeoChat-Instruct: drawn scenes in the official layout, all five kinds."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from geovlm import boxes, scenes
from geovlm.api import Split
from geovlm.boxes import Box
from geovlm.scenes import Item, Scene
from geovlm_geochat.data import INSTRUCT, OFFICIAL_IMAGES, split_of
from geovlm_geochat.turns import Kind

_SPLITS: tuple[Split, ...] = ("train", "val", "test")
_PAIRS: tuple[tuple[Kind, Kind], ...] = (
    ("classify", "vqa"),
    ("refer", "caption"),
    ("ground", "classify"),
    ("vqa", "refer"),
    ("caption", "ground"),
)
_SIZE_PX = (256, 256)
_SHORT = "\nAnswer the question using a single word or phrase."
_CHAT = (
    ("What might people do at this place?", "They may live, work or travel there."),
    ("Describe the image.", "The image shows the ground from above."),
)


def make_sample(root: Path, n: int, seed: int) -> None:
    """Write `n` usable exchanges per split, two per image, in the layout of the release.

    The name of an image decides its split (`split_of`), so names are counted up until one fits.
    Some records hold several exchanges, and some of these are conversation, which the loader skips.
    Boxes are whole percent with theta clockwise on the screen; upright ones are written with theta
    0 or, sides swapped, 90, as in the release.
    """
    folder = root / OFFICIAL_IMAGES
    folder.mkdir(parents=True, exist_ok=True)
    records: list[dict[str, Any]] = []
    for part, split in enumerate(_SPLITS):
        counter = itertools.count(1)
        for number in range(-(-n // 2)):
            rng = np.random.default_rng((seed, part, number))
            kinds = _PAIRS[number % len(_PAIRS)][: n - 2 * number]
            scene = _scene(rng, kinds=kinds)
            image = _name(scene, kinds=kinds, split=split, counter=counter)
            path = folder / image
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(scenes.render(scene))
            picture.save(path, quality=92, compress_level=1)  # JPEG reads the one, PNG the other
            records += _records(rng, scene=scene, image=image, kinds=kinds, number=number)
    (root / INSTRUCT).write_text(json.dumps(records), encoding="utf-8")


def _scene(rng: np.random.Generator, *, kinds: Sequence[Kind]) -> Scene:
    covers = (1, 1) if "classify" in kinds else (1, 2)
    scene = scenes.compose(
        rng, size_px=_SIZE_PX, kinds=scenes.KINDS, count=(1, 4), n_covers=covers, road=0.2
    )
    items = list(scene.items)
    for at, item in enumerate(items):
        turned = replace(item, angle_deg=float(rng.integers(10, 81)))
        if item.kind == "storage tank" or rng.random() < 0.5:
            continue
        if _free(turned, others=items[:at] + items[at + 1 :]):
            items[at] = turned
    return replace(scene, items=tuple(items))


def _free(item: Item, *, others: Sequence[Item]) -> bool:
    """True if a turned object stays in the image and away from the others."""
    hull = _hull(item)
    width, height = _SIZE_PX
    inside = hull.x0 >= 0 and hull.y0 >= 0 and hull.x1 <= width and hull.y1 <= height
    return inside and all(boxes.iou(hull, _hull(other)) == 0 for other in others)


def _hull(item: Item) -> Box:
    return boxes.enclosing(Box(*item.box, item.angle_deg))


def _name(scene: Scene, *, kinds: Sequence[Kind], split: Split, counter: Iterator[int]) -> str:
    """The next file name that belongs to the split."""
    cover = scene.covers[0][0].replace(" ", "_")
    for number in counter:
        image = f"P{number:05d}_0000.png"
        if "classify" in kinds:
            image = f"NWPU-RESISC45/{cover}/{cover}_{number:05d}.jpg"
        if split_of(image) == split:
            return image
    raise AssertionError("the counter has no end")


def _records(
    rng: np.random.Generator, *, scene: Scene, image: str, kinds: Sequence[Kind], number: int
) -> list[dict[str, Any]]:
    """Return one record per exchange, or a single one with all of them and some conversation."""
    write = {
        "classify": _classify,
        "vqa": _vqa,
        "caption": _caption,
        "refer": _refer,
        "ground": _ground,
    }
    exchanges = [write[kind](rng, scene) for kind in kinds]
    if kinds == ("vqa", "refer"):
        return [_record(image, [*exchanges, _CHAT[0]])]
    found = [_record(image, [exchange]) for exchange in exchanges]
    if number % 8 == 0:
        found.append(_record(image, list(_CHAT)))
    return found


def _record(image: str, exchanges: Sequence[tuple[str, str]]) -> dict[str, Any]:
    messages: list[dict[str, str]] = []
    for at, (human, gpt) in enumerate(exchanges):
        messages.append({"from": "human", "value": human if at else f"<image>\n{human}"})
        messages.append({"from": "gpt", "value": gpt})
    short = image.removeprefix("NWPU-RESISC45/")
    return {"id": short, "image": image, "conversations": messages}


def _classify(rng: np.random.Generator, scene: Scene) -> tuple[str, str]:
    listed = ", ".join(scenes.COVERS[i] for i in rng.permutation(len(scenes.COVERS)))
    question = f"Classify the given image in one of the following classes. Classes: {listed}. "
    return f"{question}\nAnswer in one word or a short phrase.", scene.covers[0][0]


def _vqa(rng: np.random.Generator, scene: Scene) -> tuple[str, str]:
    held = [item.kind for item in scene.items]
    form = int(rng.integers(4))
    if form == 0 and held:
        kind = held[int(rng.integers(len(held)))]
        return f"How many {kind}s are in the image?{_SHORT}", str(held.count(kind))
    if form == 1 and len(held) == 1:
        item = scene.items[0]
        return f"What is the color of the {item.kind}?{_SHORT}", item.colour
    if form == 2:
        names = [name for name, _ in scene.covers]
        asked = names[0] if rng.random() < 0.5 else scenes.COVERS[int(rng.integers(6))]
        return f"Is there {asked} in the image?{_SHORT}", "yes" if asked in names else "no"
    present = sorted(set(held))
    absent = [kind for kind in scenes.KINDS if kind not in held]
    asked_from = present if present and (not absent or rng.random() < 0.5) else absent
    kind = asked_from[int(rng.integers(len(asked_from)))]
    article = "an" if kind == "airplane" else "a"
    return f"Is there {article} {kind} in the image?{_SHORT}", "yes" if kind in held else "no"


def _caption(rng: np.random.Generator, scene: Scene) -> tuple[str, str]:
    item = scene.items[int(rng.integers(len(scene.items)))]
    question = f"[identify] What is the object present at {_box(rng, item)}"
    return question, f"<p>1 {item.colour} {item.kind} at the {_position(item)}</p>"


def _refer(rng: np.random.Generator, scene: Scene) -> tuple[str, str]:
    groups = _groups(scene)
    name = list(groups)[int(rng.integers(len(groups)))]
    found = "".join(_box(rng, item) for item in groups[name])
    return f"[refer] Give me the location of <p> {_counted(name, groups[name])} </p>", found


def _ground(rng: np.random.Generator, scene: Scene) -> tuple[str, str]:
    told = []
    for name, items in _groups(scene).items():
        marked = "<delim>".join(_box(rng, item) for item in items)
        told.append(f"<p>{_counted(name, items)}</p> {marked}")
    covers = " and ".join(name for name, _ in scene.covers)
    verb = "is" if told[0].startswith("<p>1 ") else "are"
    text = f"In the satellite image, there {verb} {' and '.join(told)} with {covers} around."
    return "[grounding] Describe the image in detail.", text


def _groups(scene: Scene) -> dict[str, list[Item]]:
    """Return the objects that share colour and kind, by that name."""
    groups: dict[str, list[Item]] = {}
    for item in scene.items:
        groups.setdefault(f"{item.colour} {item.kind}", []).append(item)
    return groups


def _counted(name: str, items: Sequence[Item]) -> str:
    return f"{len(items)} {name}{'s' if len(items) > 1 else ''}"


def _box(rng: np.random.Generator, item: Item) -> str:
    """Return the object in GeoChat's grammar: whole percent before the turn, theta clockwise."""
    x0, y0, x1, y1 = item.box
    theta = round(item.angle_deg)
    if theta == 0 and rng.random() < 0.5:
        x, y, half_w, half_h = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2
        x0, y0, x1, y1, theta = x - half_h, y - half_w, x + half_h, y + half_w, 90
    width, height = _SIZE_PX
    percent = (x0 * 100 / width, y0 * 100 / height, x1 * 100 / width, y1 * 100 / height)
    return "{" + "".join(f"<{round(value)}>" for value in percent) + f"|<{theta}>" + "}"


def _position(item: Item) -> str:
    width, height = _SIZE_PX
    across, down = (item.box[0] + item.box[2]) / 2 / width, (item.box[1] + item.box[3]) / 2 / height
    rows = "top" if down < 1 / 3 else "bottom" if down > 2 / 3 else ""
    columns = "left" if across < 1 / 3 else "right" if across > 2 / 3 else ""
    return f"{rows} {columns}".strip() or "center"
