"""Uses EarthDial's own rows of NWPU VHR-10, which name no image: finds it by the boxes.

Rows are read from the result files of EarthDial's repository (`rs_detection/results/
NWPU_VHR_10.jsonl` and `rs_region_captioning/results/NWPU_VHR_10_test.jsonl`), or from the folders
of EarthDial-Instruct as the package `datasets` saved them. The columns of the latter are known from
EarthDial's code; no such folder was at hand.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geovlm import files
from geovlm.api import Size
from geovlm.errors import DataError
from geovlm_vhr10 import KINDS, PLACES, SIZES
from geovlm_vhr10.groups import Group, Ints, Thing, Use

FOLDER = "earthdial"
"""Folder of the rows in that of the data set."""
_NAMED = re.compile(r"vhr[-_ ]?10", re.IGNORECASE)
_PHRASE = re.compile(
    rf"(\d+) ([a-z]+) ({'|'.join(SIZES)}) ({'|'.join(KINDS)}) at the "
    rf"({'|'.join(sorted(PLACES, key=len, reverse=True))})"
)
_BOX = re.compile(r"\[(\d{1,3}), ?(\d{1,3}), ?(\d{1,3}), ?(\d{1,3}), ?0\]")
_SAVED = ("question", "groundtruth")
"""Columns of a saved folder."""
_WANTED: tuple[Use, ...] = ("refer", "region")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One published row."""

    use: Use
    colour: str
    size: str
    kind: str
    place: str
    boxes: tuple[Ints, ...]
    """In percent, as printed."""
    item: str
    """File and number, for messages."""


def read(folder: Path, *, skip: Callable[[str, str], None]) -> list[Row]:
    """Return the rows of referred detection and region captions in a folder, in their order.

    Files and saved folders count whose path holds VHR_10. Other rows, such as those of grounded
    descriptions, are passed over.

    Raises:
        DataError: there are no rows of one of the two tasks; names the folder.
    """
    found: list[Row] = []
    for item, fields in _records(folder, skip=skip):
        use = _use(fields)
        if use is None:
            continue
        row = _row(use, fields, item)
        if row is None:
            skip("row of EarthDial that cannot be read", item)
        else:
            found.append(row)
    for use in _WANTED:
        if not any(row.use == use for row in found):
            task = {"refer": "referred detection", "region": "region captions"}[use]
            raise DataError(
                f"{folder} holds no row of EarthDial's {task} of VHR-10",
                hint="put rs_detection/results/NWPU_VHR_10.jsonl and rs_region_captioning/results/"
                "NWPU_VHR_10_test.jsonl there, in folders of their own",
            )
    return found


def match(
    rows: Sequence[Row],
    things: Mapping[str, Sequence[Thing]],
    sizes: Mapping[str, Size],
    *,
    skip: Callable[[str, str], None],
) -> dict[str, list[Group]]:
    """Return image -> the groups that the rows make of its objects, ordered by first member.

    A row belongs to the image that has all its boxes, and each object to one row. Where several
    images have them, the other rows decide: those that took the objects, else the nearest ones,
    since the rows of an image stand together.

    Args:
        rows: in their published order.
        things: image -> its objects.
        sizes: image -> its size.
        skip: is told of rows without an image, and of rows that name another size or place than
            the rules of `geovlm_vhr10.groups`; the latter are kept as published.
    """
    free: dict[str, dict[tuple[str, Ints], list[int]]] = {}
    holders: dict[tuple[str, Ints], list[str]] = {}
    for image, held in things.items():
        own = free.setdefault(image, {})
        for number, thing in enumerate(held):
            key = thing.kind, thing.percent(sizes[image])
            own.setdefault(key, []).append(number)
            if image not in holders.setdefault(key, []):
                holders[key].append(image)
    placed: dict[int, str] = {}
    groups: dict[str, list[Group]] = {image: [] for image in things}

    def candidates(row: Row) -> list[str]:
        wanted = Counter((row.kind, box) for box in row.boxes)
        first = next(iter(wanted))
        return [
            image
            for image in holders.get(first, ())
            if all(len(free[image].get(key, ())) >= n for key, n in wanted.items())
        ]

    def settle(number: int, image: str) -> None:
        row = rows[number]
        members = tuple(sorted(free[image][row.kind, box].pop(0) for box in row.boxes))
        placed[number] = image
        held = [things[image][member] for member in members]
        rebuilt = {(each.size(), each.place(sizes[image])) for each in held}
        if rebuilt != {(row.size, row.place)}:
            skip("row of EarthDial with another size or place than its boxes (kept)", row.item)
        groups[image].append(
            Group(
                kind=row.kind,
                colour=row.colour,
                size=row.size,
                place=row.place,
                members=members,
                use=row.use,
            )
        )

    left, before = list(range(len(rows))), len(rows) + 1
    while len(left) < before:
        before = len(left)
        for number in left:
            found = candidates(rows[number])
            if len(found) == 1:
                settle(number, found[0])
        left = [number for number in left if number not in placed]
    for number in left:
        found = candidates(rows[number])
        if found:
            settle(number, min(found, key=lambda image: (_distance(image, number, placed), image)))
        else:
            skip("row of EarthDial that fits no image on disk", rows[number].item)
    return {image: sorted(held, key=lambda group: group.members) for image, held in groups.items()}


def _distance(image: str, number: int, placed: Mapping[int, str]) -> int:
    """Return how many rows away the nearest row of an image is."""
    return min((abs(other - number) for other, at in placed.items() if at == image), default=10**9)


def _records(
    folder: Path, *, skip: Callable[[str, str], None]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(folder.rglob("*.jsonl")):
        if _NAMED.search(str(path.relative_to(folder))):
            for number, fields in files.json_lines(path, skip=skip):
                if isinstance(fields, dict):
                    yield f"{path.relative_to(folder)} line {number}", fields
    for saved in files.saved_folders(folder):
        has_both = not set(_SAVED) - set(files.saved_columns(saved))
        if has_both and _NAMED.search(str(saved.relative_to(folder))):
            for number, fields in enumerate(files.saved_rows(saved, _SAVED)):
                yield f"{saved.relative_to(folder)} row {number}", fields


def _use(fields: Mapping[str, Any]) -> Use | None:
    question = str(fields.get("question", ""))
    return "refer" if "[refer]" in question else "region" if "[identify]" in question else None


def _row(use: Use, fields: Mapping[str, Any], item: str) -> Row | None:
    question = str(fields["question"])
    truth = str(fields.get("gt_bbox") or fields.get("annotation") or fields.get("groundtruth"))
    said, boxed = (question, truth) if use == "refer" else (truth, question)
    phrase = _PHRASE.search(said)
    boxes = tuple(tuple(map(int, each)) for each in _BOX.findall(boxed))
    if phrase is None or not boxes or int(phrase[1]) != len(boxes):
        return None
    return Row(
        use=use,
        colour=phrase[2],
        size=phrase[3],
        kind=phrase[4],
        place=phrase[5],
        boxes=boxes,  # type: ignore[arg-type]
        item=item,
    )
