"""Generates images with five true captions each, in the layouts of the three sets."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from geovlm import scenes

_SPLITS = ("train", "val", "test")
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


def _make(root: Path, n: int, seed: int, *, name: str, images: str, end: str, side_px: int) -> None:
    (root / images).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    records: list[dict[str, Any]] = []
    for split in _SPLITS:
        for _ in range(n):
            scene = scenes.compose(rng, size_px=(side_px, side_px), kinds=scenes.KINDS)
            number = len(records)
            filename = f"{number + 1}{end}"
            Image.fromarray(scenes.render(scene, when="pre")).save(root / images / filename)
            sentences = [
                {
                    "tokens": text.split(),
                    "raw": f"{text} .",
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
    file = "dataset_rsicd.json" if name == "rsicd" else "dataset.json"
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
