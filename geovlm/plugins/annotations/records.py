"""Holds what every reader of annotations yields, whatever the format."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from geovlm.api import Json, Raster, Split
from geovlm.errors import DataError

BOX = "{box}"
"""Place of a box in a text."""
Skip: TypeAlias = Callable[[str, str], None]
"""`skip(reason, item)`: called for everything that is left out; reasons are counted."""
EXAMPLES = 3
"""Left-out items that are kept per reason."""


@dataclass(slots=True)
class LeftOut:
    """Items that are left out for one reason."""

    count: int = 0
    first: list[str] = field(default_factory=list)


class Skipped(dict[str, LeftOut]):
    """Reason -> items that are left out; a `Skip`."""

    def __call__(self, reason: str, item: str) -> None:
        """Count an item."""
        found = self.setdefault(reason, LeftOut())
        found.count += 1
        if len(found.first) < EXAMPLES:
            found.first.append(item)

    def __str__(self) -> str:
        """Return each reason, with the number of its items and the first one."""
        return "; ".join(
            f"{each.count:,} left out: {reason}, such as {each.first[0]}"
            for reason, each in self.items()
        )


def unusable(source: Path, skipped: Skipped, *, task: str = "", hint: str = "") -> DataError:
    """Return the error about a source of which nothing is left, for a task or for any."""
    wanted = f"for the task {task}" if task else "that can be used"
    return DataError(
        f"{source} holds no record {wanted}" + f" ({skipped})" * bool(skipped),
        hint=hint or "--images DIR says where the images are, --task what is asked",
    )


Corners: TypeAlias = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the stored image."""
_ROUNDED_PX = 1.0
"""Pixels by which a box that fills its image may exceed it when its numbers are rounded."""


class Labelled(NamedTuple):
    """A box and its label."""

    box: Corners
    label: str


def part_inside(
    box: Corners, size: tuple[float, float], *, where: str, skip: Skip
) -> Corners | None:
    """Return the part of a box in an image of this width and height; `None` if there is none.

    `skip` is told of a box outside of the image, and of more than `_ROUNDED_PX` that are cut off.
    """
    x0, y0, x1, y1 = box
    part = (max(x0, 0.0), max(y0, 0.0), min(x1, size[0]), min(y1, size[1]))
    if part == box:
        return box
    if part[0] >= part[2] or part[1] >= part[3]:
        skip("box outside of its image", where)
        return None
    if max(abs(own - cut) for own, cut in zip(box, part, strict=True)) > _ROUNDED_PX:
        skip("part of a box beyond its image", where)
    return part


def identifier(image: str, asked: Sequence[str]) -> str:
    """Return an id: the image, and a digest of what is asked about it, if that is in the row.

    It stays as it is when rows are added, or an answer is corrected.
    """
    if not any(asked):
        return image
    digest = hashlib.blake2b("\0".join(asked).encode(errors="replace"), digest_size=4)
    return f"{image}/{digest.hexdigest()}"


class Record(NamedTuple):
    """One annotated image, or one row of a table."""

    id: str
    """Identifier, unique in the source."""
    images: tuple[Path | Raster, ...]
    """One image or more, oldest first."""
    where: str
    """Place in the source, such as `cars.json image 17` or `rows.csv:12`."""
    group: str
    """Records of one group are put in the same split."""
    split: Split | None = None
    """Split that the source gives."""
    scene: str = ""
    """File of the scene that the image is a window of, or of another one of that ground."""
    boxes: tuple[Labelled, ...] | None = None
    """Objects; empty: none is there; `None`: the source has no boxes."""
    label: str | None = None
    """Class of the image."""
    question: str = ""
    """The row's own question; `{box}` where one of `boxes` stands."""
    answer: str | None = None
    """The answer as text; `{box}` where one of `boxes` stands."""
    type: str = ""
    """Kind of the question, such as `count`."""
    phrase: str = ""
    """Words for what the boxes show; these are then the answer."""
    choices: tuple[str, ...] = ()
    """Choices of a multiple-choice question, in their order."""
    captions: tuple[str, ...] = ()
    reasoning: str = ""
    extra: Mapping[str, Json] = MappingProxyType({})
    """Other columns, for `group_by`."""
