"""Reads the boxes in a cell of a table: of ms-swift, of `datasets`, or plain lists of numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from geovlm.api import Size
from geovlm.plugins.annotations.tables import cells

_BOXES = ("bbox", "bboxes", "boxes", "box", "bbox_2d")
_CATEGORIES = ("category", "categories", "category_id")
_LABELS = ("ref", "label", "labels", "category", "categories", "class", "name", "category_id")


_BLOCK = re.compile(r"^\s*```(?:json)?|```\s*$")
"""Marks of a block in Markdown."""


class Objects(NamedTuple):
    """Boxes as they stand, and what is said of them."""

    boxes: tuple[tuple[float, ...] | None, ...]
    """Numbers of each; `None`: no list of numbers."""
    labels: tuple[str, ...]
    """One per box, one for all, or other texts in their order, as ms-swift has them."""
    form: str = ""
    """`xyxy` or `norm1` where the cell says it, as in ms-swift."""


def read(value: Any) -> Objects | None:
    """Return the objects in a cell; `None`: there are no boxes in it.

    Read are one box or a list of boxes as lists of numbers, a list of objects such as `{"bbox":
    […], "label": …}`, an object of lists such as `{"bbox": […], "ref": […]}`, and the JSON of each.
    """
    if isinstance(value, str):
        value = cells.listed(value)
    if isinstance(value, Mapping):
        found = read(next((value[key] for key in _BOXES if key in value), None))
        labels = next((value[key] for key in _LABELS if key in value), ())
        form = {"real": "xyxy", "norm1": "norm1"}.get(str(value.get("bbox_type")), "")
        return found and Objects(found.boxes, _texts(labels), form)
    if not isinstance(value, list | tuple):
        return None
    if value and isinstance(value[0], Mapping):
        several = [each if isinstance(each, Mapping) else {} for each in value]
        boxes = [next((each[key] for key in _BOXES if key in each), None) for each in several]
        names = [next((each[key] for key in _LABELS if key in each), "") for each in several]
        return Objects(tuple(map(cells.numbers, boxes)), _texts(names))
    if value and not isinstance(value[0], list | tuple):
        value = [value]
    return Objects(tuple(map(cells.numbers, value)), ())


def whole(value: Any) -> Objects | None:
    """Return the boxes of an answer that is nothing else; `None` for any other answer.

    Read are `[10, 20, 50, 50]`, a list of such boxes, and `[{"bbox_2d": […], "label": …}]`, as
    VLM-R1 writes them, also in a block of JSON.
    """
    if isinstance(value, str):
        value = _BLOCK.sub("", value).strip()
        if value[:1] not in ("[", "{"):
            return None
    held = read(value)
    if held is None or not held.boxes or any(b is None or len(b) != 4 for b in held.boxes):
        return None
    return held


def is_of_datasets(value: Any) -> bool:
    """True for an object of lists as detection sets of the hub have it: `bbox` and `category`.

    By convention its boxes are those of COCO: a corner, width and height in pixels.
    """
    return isinstance(value, Mapping) and "bbox" in value and any(k in value for k in _CATEGORIES)


def corners(
    box: tuple[float, ...] | None, form: str, size: Size
) -> tuple[float, float, float, float] | None:
    """Return the corners of a box in pixels; `None` if it has no area.

    `form` is `xyxy`, `xywh` or `norm1`: corners in pixels, a corner and width and height, or
    corners as shares of `size`, the (width, height) of the image.
    """
    if box is None or len(box) != 4:
        return None
    x0, y0, x1, y1 = box
    if form == "xywh":
        x1, y1 = x0 + x1, y0 + y1
    if form == "norm1":
        x0, y0, x1, y1 = x0 * size[0], y0 * size[1], x1 * size[0], y1 * size[1]
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _texts(value: Any) -> tuple[str, ...]:
    return (
        tuple(map(cells.text, value)) if isinstance(value, list | tuple) else (cells.text(value),)
    )
