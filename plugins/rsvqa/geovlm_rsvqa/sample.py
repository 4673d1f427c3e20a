"""Generates images and questions in the layouts of RSVQA and RSVQAxBEN."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from geovlm import scenes

SIDE_PX = 256
PATCH_PX = 120
"""Side of a patch of BigEarthNet."""
_SPLITS = ("train", "val", "test")
_THINGS = {"building": "building", "storage tank": "storage tank"}
"""Kind of scene item -> its word in the questions."""
_AREAS = {"water": "water area", "forest": "forest", "cropland": "farmland"}
"""Land cover -> its word in the questions."""

_CLASSES = {
    "water": "water bodies",
    "forest": "mixed forest",
    "cropland": "non-irrigated arable land",
    "pasture": "pastures",
    "urban": "discontinuous urban fabric",
    "bare soil": "bare rock",
}
"""Land cover -> class of CORINE's third level, as RSVQAxBEN writes it."""


def make_lr(root: Path, n: int, seed: int) -> None:
    """Write n images per split with presence, comparison, count and rural/urban questions."""
    _make(root, n, seed, images="Images_LR", prefix="LR", metres_per_px=10.0, high=False)


def make_hr(root: Path, n: int, seed: int) -> None:
    """Write n images per split with presence, comparison, count and area questions."""
    _make(root, n, seed, images="Data", prefix="USGS", metres_per_px=0.15, high=True)


def make_xben(root: Path, n: int, seed: int) -> None:
    """Write n patches per split with five questions each, true to the scene."""
    (root / "Images").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    images: list[tuple[str, dict[str, Any]]] = []
    asked: list[tuple[str, dict[str, Any], str]] = []
    for split in _SPLITS:
        for _ in range(n):
            number = len(images)
            scene = scenes.compose(rng, size_px=(PATCH_PX, PATCH_PX), count=(0, 0), road=0.0)
            picture = Image.fromarray(scenes.render(scene, when="pre"))
            picture.save(root / "Images" / f"{number}.tif")
            first = len(asked)
            for kind, question, answer in _land_cover(scene, rng=rng):
                row = {"img_id": number, "people_id": 0, "type": kind, "question": question}
                asked.append((split, row, answer))
            body = {"original_name": f"generated_{number}.tif", "sensor": "S2", "type": "RGB"}
            images.append((split, {**body, "questions_ids": list(range(first, len(asked)))}))
    for split in _SPLITS:
        _write_part(root, split, "images", images)
        rows = [(each, {**row, "answers_ids": [i]}) for i, (each, row, _) in enumerate(asked)]
        _write_part(root, split, "questions", rows)
        said = [
            (each, {"question_id": i, "people_id": 0, "answer": answer})
            for i, (each, _, answer) in enumerate(asked)
        ]
        _write_part(root, split, "answers", said)


def _make(
    root: Path, n: int, seed: int, *, images: str, prefix: str, metres_per_px: float, high: bool
) -> None:
    (root / images).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    pictures: list[dict[str, Any]] = []
    questions: list[dict[str, Any]] = []
    split_of: list[str] = []
    for split in _SPLITS:
        for _ in range(n):
            scene = scenes.compose(
                rng, size_px=(SIDE_PX, SIDE_PX), kinds=tuple(_THINGS), count=(0, 4), road=0.4
            )
            number = len(pictures)
            _write_image(root / images / f"{number}.tif", scene, metres_per_px=metres_per_px)
            asked = _questions(scene, rng=rng, metres_per_px=metres_per_px, high=high)
            first = len(questions)
            for kind, text, answer in asked:
                questions.append(
                    {"img_id": number, "type": kind, "question": text, "answer": answer}
                )
            pictures.append(
                {
                    "original_name": f"generated_{number}.tif",
                    "sensor": "generated",
                    "upperleft_map_x": 0.0,
                    "upperleft_map_y": 0.0,
                    "res_x": f"{metres_per_px}m",
                    "res_y": f"{metres_per_px}m",
                    "type": "RGB",
                    "questions_ids": list(range(first, len(questions))),
                }
            )
            split_of.append(split)
    parts = {split: split for split in _SPLITS} | ({"test_phili": "test"} if high else {})
    for part, split in parts.items():
        _write_lists(root, f"{prefix}_split_{part}", pictures, questions, split_of, split)


def _write_image(path: Path, scene: scenes.Scene, *, metres_per_px: float) -> None:
    pixels = scenes.render(scene, when="pre")
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=SIDE_PX,
        height=SIDE_PX,
        count=3,
        dtype="uint8",
        crs="EPSG:3857",
        transform=from_origin(632234.39, 6972631.16, metres_per_px, metres_per_px),
        photometric="RGB",
    ) as file:
        file.write(np.moveaxis(pixels, -1, 0))


def _questions(
    scene: scenes.Scene, *, rng: np.random.Generator, metres_per_px: float, high: bool
) -> list[tuple[str, str, str]]:
    """Return (type, question, answer) triples, true to the scene, with the official templates.

    The answer to about half of the presence and comparison questions is yes.
    """
    number = {
        word: sum(item.kind == kind for item in scene.items) for kind, word in _THINGS.items()
    }
    number["road"] = len(scene.road)
    covers = {name for name, _ in scene.covers}
    number |= {word: int(cover in covers) for cover, word in _AREAS.items()}
    asked: list[tuple[str, str, str]] = []
    left = dict(number)
    for _ in range(3):
        wanted = rng.random() < 0.5
        words = [word for word, n in left.items() if (n > 0) == wanted] or list(left)
        (word,) = _pick(rng, words, 1)
        del left[word]
        template = ("Is there a {}?", "Is a {} present?")[int(rng.integers(2))]
        asked.append(("presence", template.format(word), _yes(number[word] > 0)))
    for word in _THINGS.values():
        template = ("How many {}s are there?", "What is the number of {}s?")[int(rng.integers(2))]
        asked.append(("count", template.format(word), str(number[word])))
    for _ in range(3):
        a, b = _pick(rng, ["building", "storage tank", "road"], 2)
        options = [
            (f"Are there more {a}s than {b}s?", number[a] > number[b]),
            (f"Are there less {a}s than {b}s?", number[a] < number[b]),
            (f"Is the number of {a}s equal to the number of {b}s?", number[a] == number[b]),
        ]
        wanted = rng.random() < 0.5  # one of the three is true
        fitting = [option for option in options if option[1] == wanted]
        text, truth = fitting[int(rng.integers(len(fitting)))]
        asked.append(("comp", text, _yes(truth)))
    if high:
        square = metres_per_px**2
        sides = [i.box for i in scene.items if i.kind == "building"]
        area = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in sides) * square
        asked.append(("area", "What is the area covered by buildings?", f"{round(area)}m2"))
    else:
        urban = "urban" if "urban" in covers else "rural"
        asked.append(("rural_urban", "Is it a rural or an urban area", urban))
    return asked


def _write_lists(
    root: Path,
    prefix: str,
    pictures: list[dict[str, Any]],
    questions: list[dict[str, Any]],
    split_of: list[str],
    split: str,
) -> None:
    """Write the three lists of a split; rows of the other splits are stubs."""
    stub = {"active": False}
    images, asked, answers = [], [], []
    for number, picture in enumerate(pictures):
        own = split_of[number] == split
        body = {**picture, "people_id": 0, "active": True} if own else stub
        images.append({"id": number, **body})
    for number, row in enumerate(questions):
        own = split_of[row["img_id"]] == split
        body = {"img_id": row["img_id"], "people_id": 0, "type": row["type"]}
        body |= {"question": row["question"], "answers_ids": [number], "active": True}
        asked.append({"id": number, **(body if own else stub)})
        said = {"question_id": number, "people_id": 0, "answer": row["answer"], "active": True}
        answers.append({"id": number, **(said if own else stub)})
    for kind, rows in (("images", images), ("questions", asked), ("answers", answers)):
        text = json.dumps({kind: rows})
        (root / f"{prefix}_{kind}.json").write_text(text, encoding="utf-8")


def _land_cover(scene: scenes.Scene, *, rng: np.random.Generator) -> list[tuple[str, str, str]]:
    """Return (type, question, answer) triples in the authors' templates.

    The answer to about half of the questions about presence is yes.
    """
    there = sorted({_CLASSES[cover] for cover, _ in scene.covers})
    absent = [name for name in _CLASSES.values() if name not in there]
    asked = []
    for template in ("Are there some {}?", "Are some {} present in the scene?"):
        fact = bool(rng.random() < 0.5)
        (name,) = _pick(rng, there if fact else absent, 1)
        asked.append(("presence", template.format(name), "yes" if fact else "no"))
    fact = bool(rng.random() < 0.5)
    names = [*_pick(rng, there, 1), *_pick(rng, absent, 1)] if fact else _pick(rng, absent, 2)
    template = "Are there {} or {} in the image?"
    asked.append(("presence", template.format(*_pick(rng, names, 2)), "yes" if fact else "no"))
    asked.append(("LC", "Which L3 land cover classes are in the image?", _listed(there)))
    (first,) = _pick(rng, there, 1)
    others = [name for name in there if name != first]
    asked.append(("LC", f"Besides {first}, which classes are in the scene?", _listed(others)))
    return asked


def _listed(names: list[str]) -> str:
    if len(names) < 2:
        return names[0] if names else "None"
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _write_part(root: Path, split: str, kind: str, rows: list[tuple[str, dict[str, Any]]]) -> None:
    """Write one list of a split; rows of the other splits are stubs, none follow its last one."""
    last = max(number for number, (own, _) in enumerate(rows) if own == split)
    listed = [
        {"id": number, **body, "active": True} if own == split else {"id": number, "active": False}
        for number, (own, body) in enumerate(rows[: last + 1])
    ]
    path = root / f"RSVQAxBEN_split_{split}_{kind}.json"
    path.write_text(json.dumps({kind: listed}), encoding="utf-8")


def _pick(rng: np.random.Generator, items: list[str], n: int) -> list[str]:
    return [items[i] for i in rng.permutation(len(items))[:n]]


def _yes(fact: bool) -> str:
    return "yes" if fact else "no"
