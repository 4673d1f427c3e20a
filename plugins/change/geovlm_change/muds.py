"""Reads MUDS from the folders that EarthDial saved with the package `datasets`.

Its captions exist nowhere else, and which tiles, months and windows of SpaceNet 7 they describe is
not published, so nothing else can be read. A folder has the images as columns `jpg_A` to `jpg_D`.
The one for testing has `groundtruth0` to `groundtruth4`, that for training `conversations`, the
JSON text of turns. These columns are known from EarthDial's own code (hiyamdebary/EarthDial,
src/earthdial/eval/rs_change_detection/rs_change_detection_test.py and src/earthdial/train/
dataloader.py, 92c1260); no such folder was at hand. Images are written to the cache once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from geovlm import files
from geovlm.api import LoadContext, Sample
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm_change import references

IMAGES = ("jpg_A", "jpg_B", "jpg_C", "jpg_D")
CAPTIONS = tuple(f"groundtruth{number}" for number in range(5))
TURNS = "conversations"
_ENDINGS = {b"\xff\xd8": ".jpg", b"\x89PNG": ".png", b"II*\0": ".tif", b"MM\0*": ".tif"}


def load(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the series of a split, oldest image first, in the order of its rows.

    Raises:
        DatasetNotFoundError: no folder below the root has these columns.
        DataError: several folders have, and none or more than one is called MUDS; or one cannot be
            read.
    """
    wanted = (TURNS,) if ctx.split == "train" else CAPTIONS
    folder = _folder(ctx.root, (*IMAGES, *wanted))
    return islice(_samples(ctx, folder, wanted), ctx.limit)


def _folder(root: Path, columns: tuple[str, ...]) -> Path:
    fitting = [
        folder
        for folder in files.saved_folders(root)
        if not set(columns) - set(files.saved_columns(folder))
    ]
    named = [each for each in fitting if "muds" in str(each.relative_to(root)).lower()]
    chosen = named or fitting
    if not chosen:
        raise DatasetNotFoundError(
            "change/muds",
            root,
            hint=f"expected a folder with state.json and the columns {', '.join(columns)}: "
            "EarthDial's Change_detection/MUDS/MUDS_ChangeDetection_test",
        )
    if len(chosen) > 1:
        raise DataError(
            f"{root} holds {len(chosen)} folders that may be MUDS: {chosen[0]}, {chosen[1]}",
            hint="give the folder of MUDS: --data change/muds=DIR",
        )
    return chosen[0]


def _samples(ctx: LoadContext, folder: Path, wanted: tuple[str, ...]) -> Iterator[Sample]:
    for number, row in enumerate(files.saved_rows(folder, (*IMAGES, *wanted))):
        item = f"row {number} of {folder.name}"
        texts = _answers(row[TURNS]) if ctx.split == "train" else [row[name] for name in CAPTIONS]
        pictures = [row[name] for name in IMAGES]
        faulty = next(
            (n for n, each in zip(IMAGES, pictures, strict=True) if not _ending(each)), ""
        )
        if faulty:
            ctx.skip("image that is not the bytes of a JPEG, PNG or TIFF file", f"{faulty}, {item}")
            continue
        target = references.target(ctx, texts, item=item)
        if target is not None:
            kept = [files.keep(each, folder="muds", ending=_ending(each)) for each in pictures]
            yield Sample(id=f"{ctx.split}/{number}", images=tuple(kept), target=target)


def _ending(picture: Any) -> str:
    """Return the end of the name of an image file with these bytes; empty if it is none."""
    if not isinstance(picture, bytes):
        return ""
    return next((end for head, end in _ENDINGS.items() if picture.startswith(head)), "")


def _answers(turns: Any) -> list[Any]:
    """Return what the model says in the turns of a training row, a JSON text."""
    try:
        listed = json.loads(turns)
    except (TypeError, ValueError, RecursionError):
        return []
    if isinstance(listed, dict):
        listed = listed.get(TURNS)
    if not isinstance(listed, list):
        return []
    said = [each for each in listed if isinstance(each, dict)]
    return [each.get("value") for each in said if each.get("from") in ("gpt", "assistant")]
