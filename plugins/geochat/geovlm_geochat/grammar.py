"""Reads GeoChat's box grammar: text with `{<x1><y1><x2><y2>|<theta>}` in, phrases and boxes out.

The four numbers are whole percent of the sides of the original image (not of the padded square that
GeoChat's own loader makes), theta is in degrees; boxes drawn by a user have no angle
(mbzuai-oryx/GeoChat: geochat_demo.py). The rectangle is meant before the turn; theta turns it about
its centre.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from geovlm import boxes
from geovlm.api import Size
from geovlm.boxes import Box

Sense: TypeAlias = Literal["cw", "ccw"]
Form: TypeAlias = Literal["hull", "drop_angle", "rotated"]
Percent: TypeAlias = tuple[float, ...]
"""`(x1, y1, x2, y2)` or `(x1, y1, x2, y2, theta)` as written."""

_NUMBER = r"<\s*(-?\d{1,6}(?:\.\d{1,6})?)\s*>"
_BOX = re.compile(
    rf"\{{\s*{_NUMBER}\s*{_NUMBER}\s*{_NUMBER}\s*{_NUMBER}\s*(?:\|\s*{_NUMBER}\s*)?\}}"
)
_BROKEN = re.compile(r"\{[\s<>\d|.\-]*\}")
_TAGS = re.compile(r"</?(?:p|delim|image|ref|box)>|\[(?:grounding|refer|identify)\]", re.IGNORECASE)
_PHRASE = re.compile(r"<p>(.*?)</p>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A part of a text and the boxes right after it."""

    text: str
    boxes: tuple[Percent, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """A box in pixels of the stored image, or the reason why there is none."""

    box: Box | None
    over: bool = False
    """True if a part of it lies outside the image."""
    reason: str = ""


def parse_boxes(text: str) -> tuple[Percent, ...]:
    """Return every box of the text in order, as written, out-of-range and degenerate ones too."""
    return tuple(_percent(match) for match in _BOX.finditer(text))


def pieces(text: str) -> tuple[Piece, ...]:
    """Cut the text at its boxes; tags, `<delim>`, stray braces and broken boxes are removed.

    A box inside `<p>` belongs to the words before it, like one after `</p>`. A piece has text,
    except a first one when the text begins with a box.
    """
    found: list[tuple[str, list[Percent]]] = []
    start = 0
    for match in _BOX.finditer(text):
        words = clean(text[start : match.start()])
        start = match.end()
        if words.strip(" ,;") or not found:
            found.append((words, [_percent(match)]))
        else:
            found[-1][1].append(_percent(match))
    tail = clean(text[start:])
    if tail.strip(" ,;") or not found:
        found.append((tail, []))
    return tuple(Piece(text=words, boxes=tuple(held)) for words, held in found)


def clean(text: str) -> str:
    """Return the text without boxes, tags, task tokens and braces, white space collapsed."""
    bare = _BROKEN.sub(" ", _BOX.sub(" ", text))
    return " ".join(_TAGS.sub(" ", bare).replace("{", " ").replace("}", " ").split())


def phrase(text: str) -> str:
    """Return the content of the first `<p> </p>`, cleaned; "" if there is none."""
    match = _PHRASE.search(text)
    return clean(match.group(1)).rstrip(" .") if match else ""


def place(numbers: Percent, *, image_size: Size, form: Form, sense: Sense) -> Placed:
    """Convert a percent box to pixels of the image, in the given form.

    Axis-aligned boxes are cut at the borders. A tilted box is kept whole, as in `boxes.parse`: its
    corners before the turn may lie outside although the box itself does not.

    Args:
        numbers: as written, 4 or 5 numbers.
        image_size: of the stored image.
        form: `hull`, the axis-aligned box around the turned one; `drop_angle`, the four numbers as
            they stand; `rotated`, five numbers with the angle brought into (-45, 45], so that a
            quarter turn is a swap of sides and only tilted boxes keep an angle.
        sense: direction in which theta turns on the screen.
    """
    if numbers[2] <= numbers[0] or numbers[3] <= numbers[1]:
        return Placed(box=None, reason="box without area")
    turned = boxes.geochat_box(numbers, image_size=image_size, sense=sense)
    return fit(turned, image_size=image_size, form=form)


def fit(turned: Box, *, image_size: Size, form: Form) -> Placed:
    """Bring a box in pixels into the given form; the second half of `place`."""
    shaped = least_turned(turned) if form == "rotated" else boxes.drop_angle(turned)
    if form == "hull":
        shaped = boxes.enclosing(turned)
    width, height = image_size
    hull = boxes.enclosing(shaped)
    x0, y0 = max(hull.x0, 0.0), max(hull.y0, 0.0)
    x1, y1 = min(hull.x1, float(width)), min(hull.y1, float(height))
    if x1 <= x0 or y1 <= y0:
        return Placed(box=None, reason="box outside the image")
    inside = Box(x0, y0, x1, y1)
    over = max(abs(a - b) for a, b in zip(inside, hull, strict=True)) > 1e-6
    return Placed(box=shaped if shaped.angle_deg else inside, over=over)


def least_turned(box: Box) -> Box:
    """Return the same rectangle with an angle in (-45, 45] degrees; sides may be swapped."""
    angle = box.angle_deg % 180.0
    angle = angle - 180.0 if angle > 135.0 else angle
    if angle <= 45.0:
        return Box(box.x0, box.y0, box.x1, box.y1, angle)
    half_w, half_h = (box.x1 - box.x0) / 2, (box.y1 - box.y0) / 2
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    return Box(x - half_h, y - half_w, x + half_h, y + half_w, angle - 90.0)


def from_polygon(points: Sequence[Sequence[float]]) -> Box:
    """Return the rotated box of four corners in pixels, given in order around it."""
    (ax, ay), (bx, by), (cx, cy), _ = [(float(x), float(y)) for x, y in points]
    half_w, half_h = math.hypot(bx - ax, by - ay) / 2, math.hypot(cx - bx, cy - by) / 2
    x = sum(float(point[0]) for point in points) / 4
    y = sum(float(point[1]) for point in points) / 4
    angle = math.degrees(math.atan2(by - ay, bx - ax))
    return least_turned(Box(x - half_w, y - half_h, x + half_w, y + half_h, angle))


def _percent(match: re.Match[str]) -> Percent:
    return tuple(float(number) for number in match.groups() if number is not None)
