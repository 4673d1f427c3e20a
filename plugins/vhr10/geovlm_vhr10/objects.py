"""Reads the boxes of NWPU VHR-10, from its text files or from the COCO variant.

A line of a text file is `(x0,y0),(x1,y1),class` in pixels. Real files have blanks inside the
parentheses and at the end of lines, blank lines, and lines that end in CR LF.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from geovlm import files
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm_vhr10 import KINDS
from geovlm_vhr10.groups import Thing

TEXTS = ("ground truth", "ground_truth", "groundtruth")
"""Names of the folder of text files."""
COCO = "annotations.json"
_NUMBER = r"\s*(-?\d{1,6})\s*"
_LINE = re.compile(rf"\({_NUMBER},{_NUMBER}\)\s*,\s*\({_NUMBER},{_NUMBER}\)\s*,{_NUMBER}")


def from_texts(root: Path, *, skip: Callable[[str, str], None]) -> dict[str, list[Thing]]:
    """Return image name without ending -> its objects, in the order of names and lines.

    Raises:
        DatasetNotFoundError: there is no folder of text files, or none in it.
    """
    found: dict[str, list[Thing]] = {}
    for folder in (root / name for name in TEXTS):
        for name in files.listed(folder, ending=".txt"):
            text = files.read_text(folder / name)
            found[name[: -len(".txt")]] = _things(text, name, skip=skip)
        if found:
            return found
    raise DatasetNotFoundError("vhr10", root / TEXTS[0], hint="expected 'ground truth/001.txt'")


def from_coco(root: Path, *, skip: Callable[[str, str], None]) -> dict[str, list[Thing]]:
    """Return image name without ending -> its objects, in the order of the file's lists.

    Raises:
        DatasetNotFoundError: there is no `annotations.json`.
        DataError: it is not of the form of COCO; names it.
    """
    path = files.find(root, COCO)
    if not path.is_file():
        hint = f"expected {COCO}; annotations = 'text' reads the official files"
        raise DatasetNotFoundError("vhr10", path, hint=hint)
    content = files.read_json(path)
    try:
        kinds = {each["id"]: _kind(each["name"]) for each in content["categories"]}
        names = {
            each["id"]: PurePosixPath(str(each["file_name"])).stem for each in content["images"]
        }
        found: dict[str, list[Thing]] = {name: [] for name in names.values()}
        for each in content["annotations"]:
            kind, name = kinds[each["category_id"]], names[each["image_id"]]
            x, y, width, height = map(float, each["bbox"])
            box = (x, y, x + width, y + height)
            _add(found[name], kind, box, item=f"{COCO}: annotation {each.get('id')}", skip=skip)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} is not of the form of COCO: {type(error).__name__} {error}",
            hint="it has images, annotations and categories; download it again",
        ) from error
    return dict(sorted(found.items()))


def _things(text: str, name: str, *, skip: Callable[[str, str], None]) -> list[Thing]:
    things: list[Thing] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        item = f"{name} line {number}"
        match = _LINE.fullmatch(line.strip())
        if match is None:
            skip("line that is no box '(x0,y0),(x1,y1),class'", item)
            continue
        x0, y0, x1, y1, kind = map(int, match.groups())
        named = KINDS[kind - 1] if 1 <= kind <= len(KINDS) else None
        _add(things, named, (x0, y0, x1, y1), item=item, skip=skip)
    return things


def _add(
    things: list[Thing], kind: str | None, box: Any, *, item: str, skip: Callable[[str, str], None]
) -> None:
    if kind is None:
        skip("object of an unknown class", item)
    elif box[2] <= box[0] or box[3] <= box[1]:
        skip("box without area", item)
    else:
        things.append(Thing(kind, box))


def _kind(name: Any) -> str | None:
    """Return the class of a category: `storage_tank` and torchgeo's `ships` are known too."""
    words = str(name).replace("_", " ").replace("-", " ").strip().lower()
    return next((kind for kind in KINDS if words in (kind, f"{kind}s")), None)
