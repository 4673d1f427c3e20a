"""Finds saved folders below a root, and tells by its columns what a folder holds.

The columns are those that EarthDial's own code reads (hiyamdebary/EarthDial, src/earthdial/train/
dataloader.py and src/earthdial/eval/*/*_test.py, 92c1260); no such folder was at hand.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple, TypeAlias

from geovlm import files
from geovlm.api import LoadContext

Form: TypeAlias = Literal["turns", "captions", "objects", "regions", "vqa", "answer"]

TURNS = "conversations"
QUESTION = "question"
TRUTH = "groundtruth"
CAPTIONS = tuple(f"{TRUTH}{number}" for number in range(5))
IMAGES = (
    ("jpg_A", "jpg_B", "jpg_C", "jpg_D"),
    ("jpg_A", "jpg_B"),
    ("jpg_pre", "jpg_post"),
    ("jpg",),
    ("png",),
)
"""Sets of image columns, the largest first."""
BANDS = ("tif_ms", "rgbi", "tif_pl", "mag1c")
"""Columns of images of more than three bands, or of floating-point ones."""
_SPLIT = re.compile(r"(?:^|_)(?:train|test|valid|val|shards?|parts?)(?:_\d+)?$", re.IGNORECASE)
_TEXTS: dict[Form, tuple[str, ...]] = {
    "turns": (TURNS,),
    "captions": (QUESTION, *CAPTIONS),
    "objects": (QUESTION, TRUTH, "obj_ids"),
    "regions": (QUESTION, TRUTH, "ttype", "size_group"),
    "vqa": (QUESTION, TRUTH, "ttype"),
    "answer": (QUESTION, TRUTH),
}
"""Form -> columns of text, the form with the most first where one includes another."""


class Folder(NamedTuple):
    """A saved folder whose columns are known."""

    path: Path
    name: str
    """Path below the root."""
    form: Form
    texts: tuple[str, ...]
    images: tuple[str, ...]

    @property
    def set_name(self) -> str:
        """Name of the set: that of the folder without its split, such as `UCM` of `UCM/test`."""
        for part in reversed(PurePosixPath(self.name).parts):
            if name := _SPLIT.sub("", part):
                return name
        return self.name


def fitting(ctx: LoadContext, only: Sequence[str]) -> list[Folder]:
    """Return the folders of a split whose columns are known, sorted; reports the others.

    The split `train` has folders of conversations, `test` those of questions.
    """
    found = []
    for path in files.saved_folders(ctx.root):
        name = path.relative_to(ctx.root).as_posix()
        name = path.name if name == "." else name
        if only and not any(text.lower() in name.lower() for text in only):
            continue
        columns = files.saved_columns(path)
        form = next((f for f, texts in _TEXTS.items() if set(texts) <= set(columns)), None)
        images = next((each for each in IMAGES if set(each) <= set(columns)), ())
        if form is not None and (form == "turns") != (ctx.split == "train"):
            continue
        if form is None:
            ctx.skip("folder of unknown columns", f"{name}: {', '.join(columns)}")
        elif not images:
            bands = [each for each in BANDS if each in columns]
            reason = "folder of images with more than three bands" if bands else ""
            ctx.skip(reason or "folder without images", f"{name}: {', '.join(bands or columns)}")
        else:
            found.append(Folder(path, name, form, _TEXTS[form], images))
    return found
