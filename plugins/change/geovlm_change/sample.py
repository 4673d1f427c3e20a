"""Generates pairs and series of images with true captions, in the layouts of the four sets.

Buildings are built, or a road; the land stays. In LEVIR-CC and Dubai-CC nothing changes in some of
the pairs, as in the real ones; in SYSU and in the rows of MUDS that are public something always
does.
"""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from geovlm import scenes
from geovlm_change.muds import CAPTIONS, IMAGES, TURNS
from geovlm_change.tasks import PUBLISHED, place_of

_NUMBERS = ("no", "one", "two", "three", "four", "five")
_UNCHANGED = {
    "levir": (
        "there is no difference",
        "the two scenes seem identical",
        "the scene is the same as before",
        "no change has occurred",
        "almost nothing has changed",
    ),
    "dubai": (
        "Nothing has changed",
        "There is no difference",
        "Everything remains the same",
        "There is no change to mention",
        "The area appears the same",
    ),
}


class Change(NamedTuple):
    """The same place at several times, oldest first."""

    scenes: tuple[scenes.Scene, ...]
    built: tuple[scenes.Item, ...]
    """Buildings that the last scene has and the first one has not."""
    road: bool
    """True if the road is new too."""


def make_levir(root: Path, n: int, seed: int) -> None:
    """Write n pairs of 256 px per split in the layout of LEVIR-CC; nothing changes in every third.

    At least one pair of each split changes.
    """
    rng = np.random.default_rng(seed)
    records: list[dict[str, Any]] = []
    for split in ("train", "val", "test"):
        for index in range(n):
            change = compose(rng, side_px=256, changes=index % 3 != 2)
            name = f"{split}_{index + 1:06d}.png"
            for side, picture in zip("AB", pictures(change), strict=True):
                folder = root / "images" / split / side
                folder.mkdir(parents=True, exist_ok=True)
                picture.save(folder / name, compress_level=1)
            records.append(
                {
                    "filepath": split,
                    "filename": name,
                    "imgid": len(records),
                    "changeflag": int(bool(change.built)),
                    "sentences": [
                        {"tokens": text.split(), "raw": f" {text} .", "imgid": len(records)}
                        for text in sentences(change, "levir")
                    ],
                    "split": split,
                }
            )
    _write(root / "LevirCCcaptions.json", {"images": records})


def make_dubai(root: Path, n: int, seed: int) -> None:
    """Write n pairs of 50 px per split in the layout of Dubai-CC; every third is unchanged."""
    rng = np.random.default_rng(seed)
    folder = root / "description_jsontr_te_val"
    for year in (2000, 2010):
        (root / "RGB" / f"500_{year}").mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    for row, (split, title) in enumerate(
        (("train", "Train"), ("val", "Validation"), ("test", "Test")), 1
    ):
        records: list[dict[str, Any]] = []
        for index in range(n):
            change = compose(rng, side_px=50, changes=index % 3 != 2)
            name = f"{row}x{index + 1}.tif"
            for year, picture in zip((2000, 2010), pictures(change), strict=True):
                picture.save(root / "RGB" / f"500_{year}" / name)
            said = [f"{text[0].upper()}{text[1:]}." for text in sentences(change, "dubai")]
            first = 5 * index
            records.append(
                {
                    "filename": name,
                    "sentences": [
                        {
                            "image_id": index,
                            "sentence_id": first + number,
                            "raw": text,
                            "tokens": text.split(),
                        }
                        for number, text in enumerate(said)
                    ],
                    "split": split,
                    "image_id": index,
                    "sentids": list(range(first, first + 5)),
                }
            )
        _write(folder / f"{title}_Dubai_CC.json", {"dataset": "DUBAI CC", "images": records})


def make_sysu(root: Path, n: int, seed: int) -> None:
    """Write n changed pairs of 256 px with CDChat's file of captions, split `test` alone."""
    rng = np.random.default_rng(seed)
    for time in ("time1", "time2"):
        (root / "test" / time).mkdir(parents=True, exist_ok=True)
    records: list[dict[str, Any]] = []
    for index in range(n):
        change = compose(rng, side_px=256, changes=True)
        for time, picture in zip(("time1", "time2"), pictures(change), strict=True):
            picture.save(root / "test" / time / f"{index:05d}.png", compress_level=1)
        size, boxes = change.scenes[-1].size_px, [list(map(int, b.box)) for b in change.built]
        where = " and ".join(dict.fromkeys(place_of(list(b.box), size) for b in change.built))
        text = sentences(change, "levir")[0]
        records.append(
            {
                "id": 16_000 + index,
                "width": size[0],
                "height": size[1],
                "file_name": f"sysu_test_{index:05d}.png",
                "folder_name": "test",
                "license": 0,
                "ischange": 1,
                "captions": [f"{text.capitalize()} at the {where} of the image."],
                "attribute": {
                    "num_regions": len(boxes),
                    "region_properties": [{"box": box} for box in boxes],
                },
            }
        )
    _write(root / "sysu_test_captions.json", {"licenses": [], "info": {}, "images": records})


def make_muds(root: Path, n: int, seed: int) -> None:
    """Write n series of four images of 256 px per split, as the package `datasets` saves them."""
    rng = np.random.default_rng(seed)
    for split in ("train", "test"):
        rows: list[dict[str, Any]] = []
        for _ in range(n):
            change = compose(rng, side_px=256, changes=True, times=4)
            said = [f"{text.capitalize()} ." for text in sentences(change, "levir")]
            row: dict[str, Any] = dict(zip(IMAGES, map(_jpeg, pictures(change)), strict=True))
            if split == "train":
                asked = {"from": "human", "value": PUBLISHED["muds"]}
                row[TURNS] = json.dumps([asked, {"from": "gpt", "value": said[0]}])
            else:
                row |= {"question": PUBLISHED["muds"], **dict(zip(CAPTIONS, said, strict=True))}
            rows.append(row)
        _save(root / f"MUDS_ChangeDetection_{split}", rows)


def compose(rng: np.random.Generator, *, side_px: int, changes: bool, times: int = 2) -> Change:
    """Draw a place at some times; if it changes, buildings and sometimes its road are new."""
    scene = scenes.compose(rng, size_px=(side_px, side_px), count=(2, 4), n_covers=(1, 2))
    new = int(rng.integers(1, len(scene.items) + 1)) if changes and scene.items else 0
    order = [scene.items[i] for i in rng.permutation(len(scene.items))]
    kept = len(order) - new
    road = bool(changes and scene.road and rng.random() < 0.5)
    many = []
    for time in range(times):
        share = time / (times - 1)
        many.append(
            dataclasses.replace(
                scene,
                # what is new comes last: a building is drawn by its number
                items=tuple(order[: kept + round(share * new)]),
                road=() if road and share < 1 else scene.road,
            )
        )
    return Change(tuple(many), tuple(order[kept:]), road)


def pictures(change: Change) -> list[Image.Image]:
    """Return the image of each time."""
    return [Image.fromarray(scenes.render(scene, when="pre")) for scene in change.scenes]


def sentences(change: Change, name: str) -> list[str]:
    """Return five true sentences, without the final stop."""
    if not change.built:
        return list(_UNCHANGED[name])
    scene = change.scenes[-1]
    land = " and ".join("urban land" if c == "urban" else c for c, _ in scene.covers)
    number = len(change.built)
    things = f"{_NUMBERS[number]} {change.built[0].colour if number == 1 else 'new'} "
    things += "house" if number == 1 else "houses"
    road = " and a road" if change.road else ""
    where = place_of(list(change.built[0].box), scene.size_px)
    are = "is" if number == 1 and not change.road else "are"
    return [
        f"{things}{road} {are} built on the {land}",
        f"{things}{road} {'appears' if are == 'is' else 'appear'} at the {where}",
        f"the {land} at the {where} gives way to {things}{road}",
        f"there {are} {things}{road} on the former {land}",
        f"{things}{road} {'has' if are == 'is' else 'have'} taken the place of {land}",
    ]


def _jpeg(picture: Image.Image) -> dict[str, Any]:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return {"bytes": file.getvalue(), "path": None}


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def _save(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as `Dataset.save_to_disk` does: one Arrow file, its state and its features."""
    import pyarrow as pa

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    types = {name: image if name in IMAGES else pa.string() for name in rows[0]}
    features = {
        name: {"_type": "Image"} if name in IMAGES else {"dtype": "string", "_type": "Value"}
        for name in rows[0]
    }
    schema = pa.schema(types.items())
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    folder.mkdir(parents=True, exist_ok=True)
    file = "data-00000-of-00001.arrow"
    table = pa.Table.from_pylist(rows, schema)
    with pa.OSFile(str(folder / file), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(table)
    state: dict[str, Any] = {
        "_data_files": [{"filename": file}],
        "_fingerprint": "generated",
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    _write(folder / "state.json", state)
    info = {"citation": "", "description": "", "features": features, "homepage": "", "license": ""}
    _write(folder / "dataset_info.json", info)
