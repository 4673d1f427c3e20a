"""Names the objects of an image as EarthDial does: percent boxes, sizes, places, groups.

The rules were found by comparing EarthDial's published rows (hiyamdebary/EarthDial, src/earthdial/
eval/{rs_detection,rs_region_captioning}/results, 92c1260) with the official boxes. They hold for
all 3,896 boxes; one row states another place than this rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, NamedTuple, TypeAlias

from geovlm.api import Size

Ints: TypeAlias = tuple[int, int, int, int]
Use: TypeAlias = Literal["refer", "region"]

_BOUNDS: Mapping[str, tuple[float, float]] = {
    "airplane": (3472.0, 7780.6),
    "ship": (1932.5, 4497.6),
    "storage tank": (1406.0, 4615.0),
    "baseball diamond": (4480.0, 9866.4),
    "tennis court": (2622.75, 5077.2),
    "basketball court": (4305.0, 10902.2),
    "ground track field": (47522.5, 83672.6),
    "harbor": (6048.75, 13563.2),
    "bridge": (13332.0, 31373.2),
    "vehicle": (1473.0, 2611.8),
}
"""Class -> 25th and 80th percentile of the areas of its boxes in all 650 images, square pixels,
linearly interpolated."""
_NEAR, _FAR = 0.3, 0.7


class Thing(NamedTuple):
    """An annotated object."""

    kind: str
    """One of `KINDS`."""
    box: tuple[float, float, float, float]
    """Corners as annotated, pixels."""

    def percent(self, size: Size) -> Ints:
        """Return its box in percent of an image of this size; see `percent`."""
        return percent(self.box, size)

    def size(self) -> str:
        """Return its size among its class: `small`, `medium` or `large`."""
        x0, y0, x1, y1 = self.box
        area, (low, high) = (x1 - x0) * (y1 - y0), _BOUNDS[self.kind]
        return "small" if area <= low else "medium" if area <= high else "large"

    def place(self, size: Size) -> str:
        """Return the part of an image of this size that holds its centre."""
        return place_of(self.box, size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Objects of one image that share class, colour, size and place."""

    kind: str
    colour: str
    """One of `COLOURS`; empty: none is named."""
    size: str
    place: str
    members: tuple[int, ...]
    """Positions of its objects in the annotation of the image, ascending."""
    use: Use
    """Task that asks about it, besides the grounded description."""

    @property
    def noun(self) -> str:
        """`4 white small storage tank`."""
        words = (str(len(self.members)), self.colour, self.size, self.kind)
        return " ".join(word for word in words if word)

    @property
    def phrase(self) -> str:
        """`4 white small storage tank at the top left`."""
        return f"{self.noun} at the {self.place}"


def percent(box: Sequence[float], size: Size) -> Ints:
    """Return a box in whole percent of the sides, each number from 1 to 99.

    A number is cut off after dividing and multiplying, in this order: 377 of 650 is 57.
    """
    x0, y0, x1, y1 = (
        min(99, max(1, int(value / side * 100)))
        for value, side in zip(box[:4], (*size, *size), strict=True)
    )
    return x0, y0, x1, y1


def place_of(box: Sequence[float], size: Size) -> str:
    """Return the part of an image that holds a box's centre: `top left`, `right`, `center`."""
    across = (box[0] + box[2]) / 2 / size[0]
    down = (box[1] + box[3]) / 2 / size[1]
    row = "top" if down < _NEAR else "bottom" if down > _FAR else ""
    column = "left" if across < _NEAR else "right" if across > _FAR else ""
    return f"{row} {column}".strip() or "center"


def rebuild(
    things: Sequence[Thing], colours: Sequence[str], size: Size, *, key: str
) -> list[Group]:
    """Group the objects of an image, in the order of their first members.

    EarthDial asks `refer` about all groups of several objects and about half of the others, which
    it seems to have drawn at random. Here SHA-256 of the image's name and the object's position
    decides.

    Args:
        things: the objects.
        colours: of each object.
        size: of the image.
        key: name of the image.
    """
    found: dict[tuple[str, str, str, str], list[int]] = {}
    for number, (thing, colour) in enumerate(zip(things, colours, strict=True)):
        words = (thing.kind, colour, thing.size(), thing.place(size))
        found.setdefault(words, []).append(number)
    return [
        Group(
            kind=kind,
            colour=colour,
            size=how_large,
            place=place,
            members=tuple(members),
            use="refer" if len(members) > 1 or _is_drawn(f"{key}/{members[0]}") else "region",
        )
        for (kind, colour, how_large, place), members in found.items()
    ]


def _is_drawn(key: str) -> bool:
    return sha256(key.encode()).digest()[0] % 2 == 0
