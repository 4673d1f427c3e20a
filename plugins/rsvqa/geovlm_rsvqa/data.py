"""Reads RSVQA as it is unpacked.

Low resolution: `Images_LR/<id>.tif`, `LR_split_{train,val,test}_{images,questions,answers}.json`.
High resolution: `Data/<id>.tif` (or `.png`, or in `Images/`), `USGS_split_….json` likewise, with
`test_phili` as another test split.

The three lists are joined by id. Official files list the rows of the other splits as stubs
`{"id": n, "active": false}`, padded so that position equals id; subsets do not, so positions are
never used.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from geovlm.api import Json, LoadContext, Sample
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm_rsvqa import HighResOptions, LowResOptions, tasks

_EXTENSIONS = (".tif", ".png")
_LISTS = {
    "images": ("id",),
    "questions": ("id", "img_id", "type", "question"),
    "answers": ("question_id", "answer"),
}
"""List -> keys that its active rows must have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Collection:
    """Names of one of the two collections."""

    name: str
    prefix: str
    images: tuple[str, ...]
    """Names of the image folder, best first."""
    classes: dict[str, tuple[str, ...]]
    """Question type -> official classes of its numbers."""


def load_lr(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the low-resolution questions of a split, image by image.

    Target: `answer` (counts in the official classes unless the option `answers` is raw), `raw`,
    `type`, `vocabulary` if the answers are closed, and `counts`: the numbers of things that the
    questions about the same image state.

    Raises:
        DatasetNotFoundError: a list or the image folder does not exist.
        DataError: a list does not have the form of RSVQA; names the file.
    """
    collection = _Collection(
        name="rsvqa/lr",
        prefix=f"LR_split_{ctx.split}",
        images=("Images_LR",),
        classes={"count": tasks.COUNT_CLASSES},
    )
    return islice(_samples(ctx, collection, ctx.options or LowResOptions()), ctx.limit)


def official_lr(ctx: LoadContext) -> int | None:
    """Return the number of questions of a split (77,232 in all); `None` if options leave some out.

    Source: google-research/big_vision, big_vision/datasets/rsvqa_lr/rsvqa_lr.py, 5f95305.
    """
    if ctx.options.per_image is not None or set(ctx.options.types) != set(LowResOptions().types):
        return None
    return {"train": 57_223, "val": 10_005, "test": 10_004}[ctx.split]


def load_hr(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the high-resolution questions of a split; as `load_lr`, but areas have the classes."""
    own = ctx.options or HighResOptions()
    collection = _Collection(
        name="rsvqa/hr",
        prefix=f"USGS_split_{own.test if ctx.split == 'test' else ctx.split}",
        images=("Data", "Images"),
        classes={"area": tasks.AREA_CLASSES},
    )
    return islice(_samples(ctx, collection, own), ctx.limit)


def _samples(ctx: LoadContext, collection: _Collection, own: Any) -> Iterator[Sample]:
    folders = [ctx.root / name for name in collection.images]
    folder = next((path for path in folders if path.is_dir()), None)
    if folder is None:
        raise DatasetNotFoundError(
            collection.name,
            folders[0],
            hint=f"expected {collection.images[0]}/<id>.tif next to {collection.prefix}_*.json",
        )
    tables = {
        kind: _active(ctx.root / f"{collection.prefix}_{kind}.json", kind, name=collection.name)
        for kind in _LISTS
    }
    answer_of = {row["question_id"]: str(row["answer"]) for row in tables["answers"]}
    by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in tables["questions"]:
        by_image[row["img_id"]].append(row)
    present = {path.name for path in folder.iterdir()}
    for image in tables["images"]:
        image_id = image["id"]
        rows = by_image.pop(image_id, [])
        files = [f"{image_id}{end}" for end in _EXTENSIONS if f"{image_id}{end}" in present]
        if not files:
            for row in rows:
                ctx.skip("image missing", f"question {row['id']}: {image_id}{_EXTENSIONS[0]}")
            continue
        yield from _of_image(ctx, collection, own, rows, answer_of, folder / files[0], image)
    for rows in by_image.values():
        for row in rows:
            ctx.skip("question about an image outside the split", str(row["id"]))


def _of_image(
    ctx: LoadContext,
    collection: _Collection,
    own: Any,
    rows: list[dict[str, Any]],
    answer_of: dict[int, str],
    path: Path,
    image: dict[str, Any],
) -> Iterator[Sample]:
    answered = []
    for row in rows:
        if row["id"] in answer_of:
            answered.append(row)
        else:
            ctx.skip("question without answer", str(row["id"]))
    counts: dict[str, Json] = {}
    for row in answered:
        thing = tasks.counted(row["question"]) if row["type"] == "count" else None
        if thing is not None:
            counts[thing] = answer_of[row["id"]]
    chosen = [row for row in answered if row["type"] in own.types]
    if own.per_image is not None and own.per_image < len(chosen):
        chosen = [chosen[i * len(chosen) // own.per_image] for i in range(own.per_image)]
    for row in chosen:
        raw, kind = answer_of[row["id"]], str(row["type"])
        target: dict[str, Json] = {"answer": raw, "raw": raw, "type": kind, "counts": counts}
        classes = collection.classes.get(kind) if own.answers == "classes" else None
        if classes is not None:
            try:
                target["answer"] = tasks.number_class(raw, classes)
            except ValueError as error:
                ctx.skip("answer is not a number", f"question {row['id']}: {error}")
                continue
        closed = classes or tasks.CLOSED.get(kind)
        if closed is not None:
            target["vocabulary"] = list(closed)
        yield Sample(
            id=str(row["id"]),
            images=(path,),
            question=" ".join(str(row["question"]).split()),
            target=target,
            meta={"image": path.name, "sensor": image.get("sensor"), "licence": "CC-BY-4.0"},
        )


def _active(path: Path, kind: str, *, name: str) -> list[dict[str, Any]]:
    """Return the active rows of a list."""
    if not path.is_file():
        raise DatasetNotFoundError(name, path, hint="unpack the official JSON files there")
    try:
        rows = [row for row in json.loads(path.read_text(encoding="utf-8"))[kind] if row["active"]]
        for key in _LISTS[kind]:
            _ = [row[key] for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not an RSVQA list of {kind}: {error!r}") from error
    return rows
