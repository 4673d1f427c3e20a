"""Reads RSVQA as it is unpacked.

Low resolution: `Images_LR/<id>.tif`, `LR_split_{train,val,test}_{images,questions,answers}.json`.
High resolution: `Data/<id>.tif` (or `.png`, or in `Images/`), `USGS_split_….json` likewise, with
`test_phili` as another test split.

The three lists are joined by id. Official files list the rows of the other splits as stubs
`{"id": n, "active": false}`, padded so that position equals id; subsets do not, so positions are
never used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from geovlm import files
from geovlm.api import Json, LoadContext, Sample
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm_rsvqa import BenchmarkOptions, HighResOptions, LowResOptions, tasks

_LISTS: dict[str, dict[str, type]] = {
    "images": {"id": int},
    "questions": {"id": int, "img_id": int, "type": str, "question": str},
    "answers": {"question_id": int, "answer": str},
}
"""List -> keys that its active rows must have, and the types of their values."""


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


def load_hrben(ctx: LoadContext) -> Iterator[Sample]:
    """Yield what the published tables call RSVQA-HRBEN: `load_hr` without counts and areas.

    The split `test` is `test_phili`, the unseen city.
    """
    own: BenchmarkOptions = ctx.options or BenchmarkOptions()
    made: Any = HighResOptions
    wider = made(types=own.types, per_image=own.per_image, test="test_phili")
    return load_hr(replace(ctx, options=wider))


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
        kind: _active(ctx, f"{collection.prefix}_{kind}.json", kind, name=collection.name)
        for kind in _LISTS
    }
    answer_of = {row["question_id"]: row["answer"] for row in tables["answers"]}
    by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in tables["questions"]:
        by_image[row["img_id"]].append(row)
    images = files.Images([folder])
    for image in tables["images"]:
        image_id = image["id"]
        rows = by_image.pop(image_id, [])
        path = images.find(f"{image_id}.tif")
        if path is None:
            for row in rows:
                ctx.skip("image missing", f"question {row['id']}: {image_id}.tif")
            continue
        yield from _of_image(ctx, collection, own, rows, answer_of, path, image)
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
        raw, kind = answer_of[row["id"]], row["type"]
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
        meta: dict[str, Json] = {"image": path.name, "sensor": image.get("sensor")}
        meta["licence"] = "CC-BY-4.0"
        question = " ".join(row["question"].split())
        if question != row["question"]:
            meta[tasks.AS_STORED] = row["question"]
        yield Sample(id=str(row["id"]), images=(path,), question=question, target=target, meta=meta)


def _active(ctx: LoadContext, file: str, kind: str, *, name: str) -> list[dict[str, Any]]:
    """Return the active rows of a list that have all their values; reports the others."""
    path = files.find(ctx.root, file)
    if not path.is_file():
        raise DatasetNotFoundError(name, path, hint="unpack the official JSON files there")
    whole = files.read_json(path)
    rows = whole.get(kind) if isinstance(whole, dict) else None
    if not isinstance(rows, list):
        raise DataError(
            f"{path} is not an RSVQA list of {kind}: it has no list {kind!r}",
            hint="unpack the official JSON files there",
        )
    keys = " or ".join(_LISTS[kind])
    kept, faulty = [], 0
    for number, row in enumerate(rows):
        if isinstance(row, dict) and not row.get("active", True):
            continue
        read = _typed(row, _LISTS[kind]) if isinstance(row, dict) else None
        if read is None:
            ctx.skip(f"row of the {kind} without {keys}", f"{file} {number}")
            faulty += 1
        else:
            kept.append(read)
    if faulty and not kept:
        raise DataError(
            f"{path}: all {faulty} active {kind} lack {keys}",
            hint="unpack the official JSON files there",
        )
    return kept


def _typed(row: dict[str, Any], fields: dict[str, type]) -> dict[str, Any] | None:
    """Return the row with its values in these types: ids may be texts, answers numbers.

    `None`: a value is absent, or cannot have its type.
    """
    if all(type(row.get(key)) is wanted and row[key] != "" for key, wanted in fields.items()):
        return row
    made: dict[str, Any] = {}
    for key, wanted in fields.items():
        value = row.get(key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        is_read = type(value) in (int, str) or (wanted is str and type(value) is float)
        if not is_read or value == "":
            return None
        try:
            made[key] = wanted(value)
        except ValueError:
            return None
    return {**row, **made}
