r"""Reads EarthDial's text: boxes, phrases with boxes, lists of classes, its tokens.

A box is `[x0, y0, x1, y1, theta]`, whole percent of the sides before the turn by theta degrees;
`<ref>` and `<box>` mark phrases and boxes. `\n` is mostly a backslash and a letter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from geovlm import boxes
from geovlm.api import PromptContext, Size
from geovlm.boxes import Box

_NUMBERS = re.compile(r"\[\s*(-?\d+(?:\s*,\s*-?\d+){3,4})\s*\]")
_MARKED = re.compile(r"<box>(.*?)</box>", re.DOTALL)
_TAGS = re.compile(r"</?(?:ref|box|image|p)>")
_TOKENS = re.compile(
    r"\[(?:hr_rgbi?(?:_temp)?_0\.5|s2_(?:rgb|ms)_10|l8_(?:rgb|ms)_30|s1_vh(?:_temp)?_10?|hyper_rgb_3"
    r"|Inf_thermal_1|grounding|refer|identify|classify|changedet|caption|treeclassify|uhi)\]"
)
_CHOICES = re.compile(r"Please answer (.+?)\.")
_LISTED = re.compile(r"(?:Classes|Species|Options):\s*(.*?)\s*(?:\"|\\n|\n|Answer in|$)", re.DOTALL)


class Piece(NamedTuple):
    """Words, and the boxes right after them as written."""

    words: str
    boxes: list[tuple[int, ...]]


def percents(text: str) -> list[tuple[int, ...]]:
    """Return every box of a text as written: four numbers of percent, and degrees if given."""
    return [tuple(map(int, match.split(","))) for match in _NUMBERS.findall(text)]


def place(numbers: Sequence[int], *, size: Size, form: Literal["hull", "drop_angle"]) -> Box | None:
    """Return a box in pixels of the image, cut at its border; `None` if no area is left."""
    if numbers[2] <= numbers[0] or numbers[3] <= numbers[1]:
        return None
    turned = boxes.geochat_box(numbers, image_size=size, sense="cw")  # a hull knows no sense
    hull = boxes.enclosing(turned) if form == "hull" else boxes.drop_angle(turned)
    x0, y0 = max(hull.x0, 0.0), max(hull.y0, 0.0)
    x1, y1 = min(hull.x1, float(size[0])), min(hull.y1, float(size[1]))
    return Box(x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def pieces(text: str) -> list[Piece]:
    """Cut a description at its boxes; words are without tags and superfluous blanks."""
    parts = _MARKED.split(text)
    words = [words_of(part) for part in parts[::2]]
    held = [percents(part) for part in parts[1::2]] + [[]]
    return [Piece(*each) for each in zip(words, held, strict=True) if any(each)]


def words_of(text: str) -> str:
    """Return a text without tags and superfluous blanks."""
    return " ".join(_TAGS.sub(" ", text).split()).replace(" ,", ",")


def phrase(question: str) -> str:
    """Return what stands between `<ref>` and `</ref>`; empty if nothing does."""
    match = re.search(r"<ref>(.*?)</ref>", question, re.DOTALL)
    return words_of(match[1]) if match else ""


def classes(question: str) -> list[str]:
    """Return the classes that a question lists; none if it lists none."""
    match = _LISTED.search(question)
    names = match[1].split(",") if match else []
    if match is None and (choices := _CHOICES.search(question)):
        names = re.split(r",\s*|\s+or\s+", choices[1])
    return list(dict.fromkeys(name.strip().rstrip(".") for name in names if name.strip(" .")))


def plain(question: str, ctx: PromptContext) -> str:
    """Return a question without tokens, tags and stray signs, boxes in the model's frame."""
    text = _TOKENS.sub(" ", question.replace("\\n", " ").replace('"', " "))
    said: list[Any] = []
    parts = _MARKED.split(text)
    for number, part in enumerate(parts):
        if number % 2:
            size = ctx.image_sizes[-1]
            held = [boxes.geochat_box(b, image_size=size, sense="cw") for b in percents(part)]
            said.append(boxes.write([boxes.enclosing(box) for box in held], ctx))
        else:
            said.append(part)
    return words_of(" ".join(said))
