"""Holds what every reader of annotations yields, whatever the format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

from geovlm.api import Json, Raster, Split

BOX = "{box}"
"""Place of a box in a text."""
Skip: TypeAlias = Callable[[str, str], None]
"""`skip(reason, item)`: called for everything that is left out; reasons are counted."""


class Labelled(NamedTuple):
    """A box `(x0, y0, x1, y1)` in pixels of the stored image, and its label."""

    box: tuple[float, float, float, float]
    label: str


def inside(box: tuple[float, float, float, float], size: tuple[float, float]) -> bool:
    """True if a part of a box lies in an image of this width and height."""
    return box[0] < size[0] and box[1] < size[1] and box[2] > 0 and box[3] > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
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
    extra: Mapping[str, Json] = field(default_factory=dict)
    """Other columns, for `group_by`."""
