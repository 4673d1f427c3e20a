"""Reads exchanges of one kind from all saved folders below a root.

Images are columns of bytes; they are written once to the cache (`GEOVLM_CACHE`). Which folders are
read follows from their columns, see `geovlm_earthdial.folders`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Any

from geovlm import files, raster
from geovlm.api import LoadContext, Sample
from geovlm.errors import DatasetNotFoundError
from geovlm_earthdial import EarthDialOptions, edits, folders, targets
from geovlm_earthdial.folders import Folder
from geovlm_earthdial.kinds import Exchange, exchanges

_ENDINGS = {b"\xff\xd8": ".jpg", b"\x89PNG": ".png", b"II*\0": ".tif", b"MM\0*": ".tif"}
_EXPECTED = {
    "caption": "question and groundtruth0 to groundtruth4",
    "change": "question and groundtruth0 to groundtruth4, jpg_A and jpg_B",
    "ground": "question, groundtruth and obj_ids",
    "refer": "question, groundtruth, ttype and size_group",
    "region": "question, groundtruth, ttype and size_group",
    "vqa": "question, groundtruth and ttype",
}


def _load(kind: str, ctx: LoadContext) -> Iterator[Sample]:
    """Yield the exchanges of this kind, folder by folder, in the order of their rows.

    Raises:
        DatasetNotFoundError: no folder of the split holds such rows.
        DataError: a folder cannot be read.
    """
    own: EarthDialOptions = ctx.options or EarthDialOptions()
    found = [each for each in folders.fitting(ctx, own.only) if _may_hold(each, kind)]
    if not found:
        columns = _EXPECTED.get(kind, "question and groundtruth")
        needed = folders.TURNS if ctx.split == "train" else columns
        among = f" and one of {', '.join(own.only)} in its path" if own.only else ""
        raise DatasetNotFoundError(
            f"earthdial/{kind}",
            ctx.root,
            hint=f"expected a folder with state.json, the columns {needed} and images{among}",
        )
    return islice(_samples(ctx, found, kind, own), ctx.limit)


def _may_hold(folder: Folder, kind: str) -> bool:
    """True if the folder holds conversations, or its first row is of this kind."""
    if folder.form == "turns":
        return True
    rows = files.saved_rows(folder.path, folder.texts)
    return any(each.kind == kind for row in islice(rows, 1) for each in exchanges(folder, row))


def _samples(
    ctx: LoadContext, found: list[Folder], kind: str, own: EarthDialOptions
) -> Iterator[Sample]:
    for folder in found:
        columns = (*folder.images, *folder.texts)
        for number, row in enumerate(files.saved_rows(folder.path, columns)):
            item = f"row {number} of {folder.name}"
            listed = exchanges(folder, row)
            if not listed:
                ctx.skip("row without question and answer", item)
            for each in listed:
                if each.kind == kind:
                    sample = _sample(ctx, own, folder, row, each, number)
                    if sample is not None:
                        yield sample
                elif not each.kind:
                    ctx.skip("exchange that no task asks", item)
                elif folder.form != "turns":
                    ctx.skip(f"row of the kind {each.kind!r} among others", item)


def _sample(
    ctx: LoadContext,
    own: EarthDialOptions,
    folder: Folder,
    row: dict[str, Any],
    exchange: Exchange,
    number: int,
) -> Sample | None:
    item = f"row {number} of {folder.name}"
    for name in folder.images:
        if not _ending(row[name]):
            ctx.skip("image that is not the bytes of a JPEG, PNG or TIFF file", f"{name}, {item}")
            return None
    images = [files.keep(row[n], folder="earthdial", ending=_ending(row[n])) for n in folder.images]
    size = raster.image_size(images[-1]) if exchange.kind in targets.PLACED else (1, 1)
    target = targets.of(exchange, row, folder=folder, size=size, own=own)
    for problem in target.problems:
        ctx.skip(problem, item)
    if target.fields is None:
        return None
    meta: dict[str, Any] = {"folder": folder.name}
    for name, stored in (("size_group", "size_group"), ("task_type", "ttype")):
        if isinstance(row.get(stored), str):
            meta[name] = edits.answer(row[stored])
    return Sample(
        id=f"{folder.name}/{number}{exchange.suffix}",
        images=tuple(images),
        question=exchange.question.replace(edits.IMAGE, ""),
        target=target.fields,
        meta=meta,
    )


def _ending(picture: Any) -> str:
    """Return the end of the name of an image file with these bytes; empty if it is none."""
    if not isinstance(picture, bytes):
        return ""
    return next((end for head, end in _ENDINGS.items() if picture.startswith(head)), "")


load_classify = partial(_load, "classify")
load_series = partial(_load, "series")
load_vqa = partial(_load, "vqa")
load_refer = partial(_load, "refer")
load_locate = partial(_load, "locate")
load_region = partial(_load, "region")
load_caption = partial(_load, "caption")
load_damage = partial(_load, "damage")
load_change = partial(_load, "change")
load_ground = partial(_load, "ground")
