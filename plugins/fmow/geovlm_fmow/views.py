"""Chooses the images of a place, and the part of each that is shown: rules of our own.

EarthDial shows four images of a place and does not say which; see the README.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from geovlm import files
from geovlm.api import Size
from geovlm_fmow import VIEWS

Window = tuple[int, int, int, int]
"""Column, row, width and height, pixels."""


class View(NamedTuple):
    """One image of a place."""

    taken: datetime
    path: Path
    size: Size
    """Width and height of the stored image, pixels."""
    box: tuple[float, float, float, float]
    """Left, top, width and height of the place, pixels."""
    gsd_m: float | None


class RefusedView(Exception):
    """The reason why an image cannot be used."""


def read(metadata: Path, image: Path) -> View:
    """Return the view that a file of metadata describes.

    Raises:
        DataError: the file cannot be read; names it.
        RefusedView: it lacks a time, a size or a box inside the image.
    """
    record: Any = files.read_json(metadata)
    if not isinstance(record, dict):
        raise RefusedView("metadata that are not a JSON object")
    size: tuple[Any, Any] = (record.get("img_width"), record.get("img_height"))
    if not all(_is_number(side) and side >= 1 for side in size):
        raise RefusedView("metadata without img_width and img_height")
    width, height = (int(side) for side in size)
    gsd: Any = record.get("gsd")
    return View(
        taken=_time(record.get("timestamp")),
        path=image,
        size=(width, height),
        box=_box(record.get("bounding_boxes"), (width, height)),
        gsd_m=float(gsd) if _is_number(gsd) else None,
    )


def spread(views: Sequence[View]) -> list[View]:
    """Return four views, oldest first, spread evenly in time; all of them if there are four.

    The first and the last are taken, and of the others the two that together lie nearest to one and
    two thirds of the time between; of equal pairs the earlier one.
    """
    ordered = sorted(views, key=lambda view: (view.taken, view.path.name))
    if len(ordered) <= VIEWS:
        return ordered
    first, last = ordered[0], ordered[-1]
    span = (last.taken - first.taken).total_seconds()
    wanted = [span * step / (VIEWS - 1) for step in range(1, VIEWS - 1)]

    def off(inner: tuple[View, ...]) -> float:
        since = [(view.taken - first.taken).total_seconds() for view in inner]
        return sum(abs(a - b) for a, b in zip(since, wanted, strict=True))

    return [first, *min(combinations(ordered[1:-1], VIEWS - 2), key=off), last]


def crop(view: View, *, context: float, min_side_px: int) -> Window:
    """Return the window around the box of a place, inside the image.

    Args:
        view: the view.
        context: ground shown on each side of the box, as a share of the box's longer side.
        min_side_px: shortest side of the window; the image's own side where that is shorter.
    """
    left, top, width, height = view.box
    margin = context * max(width, height)
    column, across = _interval(left - margin, width + 2 * margin, view.size[0], min_side_px)
    row, down = _interval(top - margin, height + 2 * margin, view.size[1], min_side_px)
    return column, row, across, down


def _interval(start: float, length: float, whole: int, least: int) -> tuple[int, int]:
    """Return start and length in whole pixels: at least `least` long, cut where the image ends.

    An interval that would be too short after the cut is moved inwards.
    """
    low, high = max(0, math.floor(start)), min(whole, math.ceil(start + length))
    short = min(least, whole) - (high - low)
    if short > 0:
        low = min(max(0, low - short // 2), whole - min(least, whole))
        high = low + min(least, whole)
    return low, high - low


def _box(listed: Any, size: Size) -> tuple[float, float, float, float]:
    """Return the box of the place: the first entry whose `ID` is not -1, else the first one.

    The release with ground truth has two entries for one object. A single entry may stand without a
    list around it.
    """
    entries = [listed] if isinstance(listed, dict) else listed
    if not isinstance(entries, list):
        raise RefusedView("metadata without bounding_boxes")
    known = [each for each in entries if isinstance(each, dict) and _is_box(each.get("box"))]
    if not known:
        raise RefusedView("metadata without bounding_boxes")
    left, top, width, height = next((e for e in known if e.get("ID") != -1), known[0])["box"]
    if left >= size[0] or top >= size[1] or left + width <= 0 or top + height <= 0:
        raise RefusedView("box outside the image")
    return float(left), float(top), float(width), float(height)


def _is_box(value: Any) -> bool:
    numbers = isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))
    return numbers and value[2] > 0 and value[3] > 0


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _time(text: Any) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    except (TypeError, ValueError) as error:
        raise RefusedView("metadata without a timestamp") from error
