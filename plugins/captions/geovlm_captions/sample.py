"""Generates images with five true captions each, in the layouts of the five sets."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from geovlm import scenes

_SPLITS = ("train", "val", "test")
_FILES = {"rsicd": "dataset_rsicd.json", "rsitmd": "dataset_RSITMD.json"}
_NWPU_CLASSES = {
    "forest": "forest",
    "cropland": "rectangular_farmland",
    "pasture": "meadow",
    "water": "lake",
    "urban": "dense_residential",
    "bare soil": "desert",
}
"""Land cover -> the class of NWPU-RESISC45 that shows it."""
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six")


def make_rsicd(root: Path, n: int, seed: int) -> None:
    """Write n images of 224 px per split in the layout of RSICD."""
    _make(root, n, seed, name="rsicd", images="RSICD_images", end=".jpg", side_px=224)


def make_ucm(root: Path, n: int, seed: int) -> None:
    """Write n images of 256 px per split in the layout of UCM-Captions."""
    _make(root, n, seed, name="ucm", images="imgs", end=".tif", side_px=256)


def make_sydney(root: Path, n: int, seed: int) -> None:
    """Write n images of 500 px per split in the layout of Sydney-Captions."""
    _make(root, n, seed, name="sydney", images="imgs", end=".tif", side_px=500)


def make_rsitmd(root: Path, n: int, seed: int) -> None:
    """Write n images of 256 px per split in the layout of RSITMD, which has no split `val`."""
    _make(root, n, seed, name="rsitmd", images="images", end=".tif", side_px=256)


def make_nwpu(root: Path, n: int, seed: int) -> None:
    """Write n images of 256 px per split in the layout of NWPU-Captions.

    The last sentence of the first image of the split `test` is ` .`, which the real file has once.
    """
    rng = np.random.default_rng(seed)
    classes: dict[str, list[dict[str, str]]] = {}
    for split in _SPLITS:
        for index in range(n):
            scene = scenes.compose(rng, size_px=(256, 256), kinds=scenes.KINDS)
            name = _NWPU_CLASSES[scene.covers[0][0]]
            records = classes.setdefault(name, [])
            filename = f"{name}_{len(records) + 1:03d}.jpg"
            folder = root / "NWPU_images" / name
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(scenes.render(scene, when="pre")).save(folder / filename)
            said = [f"{text.capitalize()} ." for text in captions(scene)]
            if split == "test" and index == 0:
                said[-1] = " ."
            keys = ("raw", "raw_1", "raw_2", "raw_3", "raw_4")
            sentences = dict(zip(keys, said, strict=True))
            records.append({"filename": filename, "split": split, **sentences})
    (root / "dataset_nwpu.json").write_text(json.dumps(classes), encoding="utf-8")


def _make(root: Path, n: int, seed: int, *, name: str, images: str, end: str, side_px: int) -> None:
    (root / images).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    records: list[dict[str, Any]] = []
    for split in ("train", "test") if name == "rsitmd" else _SPLITS:
        for _ in range(n):
            scene = scenes.compose(rng, size_px=(side_px, side_px), kinds=scenes.KINDS)
            number = len(records)
            filename = f"{'boat_' if name == 'rsitmd' else ''}{number + 1}{end}"
            Image.fromarray(scenes.render(scene, when="pre")).save(root / images / filename)
            sentences = [
                {
                    "tokens": text.split(),
                    # RSITMD's sentences have capitals, and no blank before the full stop
                    "raw": f"{text.capitalize()}." if name == "rsitmd" else f"{text} .",
                    "imgid": number,
                    "sentid": 5 * number + index,
                }
                for index, text in enumerate(captions(scene))
            ]
            records.append(
                {
                    "filename": filename,
                    "imgid": number,
                    "sentences": sentences,
                    "split": split,
                    "sentids": [sentence["sentid"] for sentence in sentences],
                }
            )
    file = _FILES.get(name, "dataset.json")
    text = json.dumps({"images": records, "dataset": name})
    (root / file).write_text(text, encoding="utf-8")


def captions(scene: scenes.Scene) -> list[str]:
    """Return five sentences that are true of the scene, without the final stop."""
    land = _joined(["urban land" if cover == "urban" else cover for cover, _ in scene.covers])
    number = Counter(item.kind for item in scene.items)
    things = [_counted(kind, number[kind]) for kind in scenes.KINDS if number[kind]]
    if scene.road:
        things.append("one road")
    seen = _joined(things) if things else "no object"
    are = "are" if len(things) > 1 or sum(number.values()) > 1 else "is"
    return [
        f"there {are} {seen} on {land}",
        f"{seen} can be seen on {land}",
        f"the land is {land} with {seen}",
        f"an aerial image of {land} with {seen}",
        f"{land} with {seen} seen from above",
    ]


def _counted(kind: str, number: int) -> str:
    word = _NUMBERS[number] if number < len(_NUMBERS) else str(number)
    return f"{word} {kind}{'s' if number > 1 else ''}"


def _joined(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
