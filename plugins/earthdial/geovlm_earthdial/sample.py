"""Generates rows of each kind in EarthDial's columns, as the package `datasets` saves them."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from geovlm import scenes
from geovlm_earthdial import edits
from geovlm_earthdial.folders import CAPTIONS, IMAGES, QUESTION, TRUTH, TURNS

SIDE_PX = 224
_KINDS = ("airplane", "ship", "storage tank", "building")
_COVERS = ("forest", "cropland", "water", "urban")
_NUMBERS = ("none", "one", "two", "many")
_DAMAGE = (
    "There has been a {} disaster, however it did not effect the buildings.",
    "There has been a {} disaster that resulted in {} demaged building.",
    "There has been a {} disaster that resulted in {} demaged buildings.",
)


class Row(NamedTuple):
    """Images of a place, a question as EarthDial stores it, and what else its columns hold."""

    images: list[Image.Image]
    question: str
    texts: dict[str, str]


def _make(kind: str, root: Path, n: int, seed: int) -> None:
    """Write n rows per split: a folder of questions, and one of conversations."""
    rng = np.random.default_rng(seed)
    for split in ("train", "test"):
        rows = list(_rows(kind, n, rng))
        names = next(each for each in IMAGES if len(each) == len(rows[0].images))
        records = []
        for row in rows:
            texts = {QUESTION: row.question, **row.texts}
            if split == "train":
                answer = row.texts.get(TRUTH) or row.texts[CAPTIONS[0]]
                turns = [
                    {"from": "human", "value": edits.edited(row.question, kind=kind)},
                    {"from": "gpt", "value": answer},
                ]
                texts = {TURNS: json.dumps(turns)}
            records.append(dict(zip(names, map(_jpeg, row.images), strict=True)) | texts)
        _save(root / f"generated_{kind}_{split}", records, names)


def _rows(kind: str, n: int, rng: np.random.Generator) -> Iterator[Row]:
    for number in range(n):
        if kind in ("classify", "vqa"):
            yield _of_land(kind, number, rng)
        elif kind == "caption":
            yield _captioned(number, rng)
        elif kind in ("refer", "region", "ground"):
            yield _of_objects(kind, rng)
        else:
            yield _of_pair(kind, number, rng)


def _of_land(kind: str, number: int, rng: np.random.Generator) -> Row:
    cover = _COVERS[number % len(_COVERS)]
    scene = scenes.compose(
        rng, size_px=(SIDE_PX, SIDE_PX), covers=(cover,), n_covers=(1, 1), count=(0, 0), road=0.0
    )
    images = [_render(scene)]
    if kind == "classify":
        question = (
            "[hr_rgb_0.5]  <image> \\n Classify the given image in one of the following classes. "
            f"Classes:  {', '.join(_COVERS)}. \\nAnswer in one word or a short phrase."
        )
        return Row(images, question, {TRUTH: cover})
    asked = cover if number % 8 < len(_COVERS) else _COVERS[(number + 1) % len(_COVERS)]
    texts = {TRUTH: "yes" if asked == cover else "no", "ttype": "presence"}
    return Row(images, f"[hr_rgb_0.5] <image>\\n Is there a {asked} area?", texts)


def _captioned(number: int, rng: np.random.Generator) -> Row:
    cover, kind = _COVERS[number % len(_COVERS)], _KINDS[int(rng.integers(len(_KINDS)))]
    scene = scenes.compose(
        rng,
        size_px=(SIDE_PX, SIDE_PX),
        kinds=(kind,),
        covers=(cover,),
        n_covers=(1, 1),
        count=(1, 4),
        road=0.5,
    )
    amount = ("one", "two", "three", "four")[len(scene.items) - 1]
    things = f"{amount} {kind}{'s' if len(scene.items) > 1 else ''}"
    where = _position(scene.items[0])
    beside = "beside a road" if scene.road else f"at the {where}"
    said = (
        f"{things} on {cover} {beside} .",
        f"{cover} with {things} {beside} .",
        f"{things} can be seen {beside} on {cover} .",
        f"there are {things} on {cover} {beside} .",
        f"{beside} are {things} , around them {cover} .",
    )
    question = " [caption] [hr_rgb_0.5] <image> \\n Could you please provide the caption for the "
    return Row([_render(scene)], f"{question}input image?", dict(zip(CAPTIONS, said, strict=True)))


def _of_objects(kind: str, rng: np.random.Generator) -> Row:
    scene = scenes.compose(
        rng, size_px=(SIDE_PX, SIDE_PX), kinds=_KINDS, count=(1, 4), n_covers=(1, 2), road=0.0
    )
    groups: dict[str, list[scenes.Item]] = {}
    for item in scene.items:
        colour = {"grey": "gray"}.get(item.colour, item.colour)
        groups.setdefault(f"{colour} medium {item.kind}", []).append(item)
    images = [_render(scene)]
    name, items = list(groups.items())[int(rng.integers(len(groups)))]
    if kind == "refer":
        question = f" [refer] [hr_rgb_0.5] <image> \\n <ref>{len(items)} {name}</ref>"
        group = {"ttype": "ref", "size_group": "medium"}
        return Row(images, question, {TRUTH: _boxes(items), **group})
    if kind == "region":
        question = " [identify] [hr_rgb_0.5] <image> \\n what object is in this location "
        question += f"<box>{_boxes(items[:1])}</box>"
        truth = f"1 {name} at the {_position(items[0])}"
        return Row(images, question, {TRUTH: truth, "ttype": "ref", "size_group": "medium"})
    parts = [
        f" <ref>{len(held)} {named} </ref> <box>[{_boxes(held)}]</box> located at "
        f"{_position(held[0])}"
        for named, held in groups.items()
    ]
    texts = {
        TRUTH: f"In the satellite image, there is {', '.join(parts)}.",
        "obj_ids": json.dumps([_boxes(held) for held in groups.values()]),
        "size_group": json.dumps(["medium"] * len(groups)),
        "obj_location": json.dumps([_position(held[0]) for held in groups.values()]),
        "obj_name": json.dumps(list(groups)),
    }
    return Row(images, " [grounding] [hr_rgb_0.5] <image> \\n Describe the image.", texts)


def _of_pair(kind: str, number: int, rng: np.random.Generator) -> Row:
    """Return a place before and after; buildings are built, or damaged by a disaster."""
    few = number % len(_NUMBERS)
    count = (few, few) if kind == "series" else (1, 3)
    after = scenes.compose(
        rng, size_px=(SIDE_PX, SIDE_PX), count=count, n_covers=(1, 2), road=0.0, disaster=None
    )
    hit = [item for item in after.items if item.damage != "no-damage"]
    before = dataclasses.replace(after, items=() if kind in ("series", "change") else after.items)
    images = [_render(before, when="pre"), _render(after, when="post")]
    disaster = after.disaster
    if kind == "series":
        question = (
            '" [hr_rgb_temp_0.5] <image> <image> \\n How many building are affected? Please '
            'answer none, one, two or many."'
        )
        return Row(images, question, {TRUTH: _NUMBERS[few]})
    if kind == "damage":
        amount = _NUMBERS[min(len(hit), 3)]
        form = _DAMAGE[min(len(hit), 2)]
        question = "[grounding] [hr_rgb_temp_0.5] <image> <image> \\n Please describe the damage "
        texts = {TRUTH: form.format(disaster, amount)}
        return Row(images, f"{question}observed in the post-disaster image.", texts)
    if kind == "locate":
        question = "[refer] [hr_rgb_temp_0.5] <image> <image> \\n Locate all large "
        question += "<ref>buildings</ref> in the post-disaster image."
        return Row(images, question, {TRUTH: _boxes(after.items)})
    question = " [changedet] [hr_rgb_temp_0.5] <image> <image> \\n are there any semantic change "
    question += "detected in the provided images?"
    if number % 3 == 2:
        said = ["there is no difference", "the two scenes seem identical"]
        said += ["the scene is the same as before", "no change has occurred"]
        said += ["almost nothing has changed"]
        return Row(
            [images[1], images[1]],
            question,
            dict(zip(CAPTIONS, [f" {each} ." for each in said], strict=True)),
        )
    land = " and ".join(name for name, _ in after.covers)
    amount = ("one", "two", "three")[len(after.items) - 1]
    where = _position(after.items[0])
    said = [
        f"{amount} new buildings are built on the {land}",
        f"{amount} buildings appear at the {where}",
        f"the {land} gives way to {amount} buildings",
        f"there are {amount} houses on the former {land}",
        f"{amount} roofs have taken the place of {land}",
    ]
    return Row(images, question, dict(zip(CAPTIONS, [f" {s} ." for s in said], strict=True)))


def _render(scene: scenes.Scene, *, when: Any = "pre") -> Image.Image:
    return Image.fromarray(scenes.render(scene, when=when))


def _boxes(items: Any) -> str:
    """Return objects as EarthDial writes boxes: whole percent, angle 0."""
    written = []
    for item in items:
        x0, y0, x1, y1 = (round(value * 100 / SIDE_PX) for value in item.box)
        written.append(f"[[{x0}, {y0}, {max(x1, x0 + 1)}, {max(y1, y0 + 1)}, 0]]")
    return "".join(written)


def _position(item: scenes.Item) -> str:
    x = (item.box[0] + item.box[2]) / 2 / SIDE_PX
    y = (item.box[1] + item.box[3]) / 2 / SIDE_PX
    rows = "top" if y < 0.3 else "bottom" if y > 0.7 else ""
    columns = "left" if x < 0.3 else "right" if x > 0.7 else ""
    return f"{rows} {columns}".strip() or "center"


def _jpeg(picture: Image.Image) -> dict[str, Any]:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return {"bytes": file.getvalue(), "path": None}


def _save(folder: Path, rows: list[dict[str, Any]], images: tuple[str, ...]) -> None:
    """Write rows as `Dataset.save_to_disk` does: one Arrow file, its state and its features."""
    import pyarrow as pa

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    types = {name: image if name in images else pa.string() for name in rows[0]}
    features = {
        name: {"_type": "Image"} if name in images else {"dtype": "string", "_type": "Value"}
        for name in rows[0]
    }
    info: dict[str, Any] = {"features": features, "description": "", "license": ""}
    schema = pa.schema(types.items())
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    folder.mkdir(parents=True, exist_ok=True)
    file = "data-00000-of-00001.arrow"
    table = pa.Table.from_pylist(rows, schema)
    with pa.OSFile(str(folder / file), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(table)
    state = {"_data_files": [{"filename": file}], "_fingerprint": "generated", "_split": None}
    (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")


make_classify = partial(_make, "classify")
make_series = partial(_make, "series")
make_vqa = partial(_make, "vqa")
make_refer = partial(_make, "refer")
make_locate = partial(_make, "locate")
make_region = partial(_make, "region")
make_caption = partial(_make, "caption")
make_damage = partial(_make, "damage")
make_change = partial(_make, "change")
make_ground = partial(_make, "ground")
