"""Reads boxes from the text that a model writes, and from a target."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

from geovlm.answers import MAX_CHARS
from geovlm.boxes.frames import HasSizes, clip, units_per_px
from geovlm.boxes.rectangle import Box

_Numbers: TypeAlias = Sequence[float]
_NUMBER = r"[-+]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][-+]?[0-9]++)?"
_BETWEEN = r"[\s,<>|]"
_VALUES = re.compile(
    rf"{_BETWEEN}*+({_NUMBER})"
    + rf"{_BETWEEN}++({_NUMBER})" * 3
    + rf"(?:{_BETWEEN}++({_NUMBER}))?{_BETWEEN}*+"
)
_PLAIN = re.compile(rf"\[{_VALUES.pattern.replace('<>', '')}\]")
# lists of numbers and nothing else; all that JSON takes of it, _PLAIN takes too
_LISTS = re.compile(r"[.,\-\s\[\]]*+(?:[0-9]{1,15}+[.,\-\s\[\]]++)*+")
_GROUP = re.compile(
    r"\[([^\[\]{}()<>]*+)\]"  # [a, b, c, d] and [a, b, c, d, angle], also inside JSON
    r"|\{((?:<[^\[\]{}()<>]*+>\|?){4,5})\}"  # GeoChat {<a><b><c><d>|<t>}
    r"|\(([^\[\]{}()<>]*+)\)\s*+,?\s*+\(([^\[\]{}()<>]*+)\)"  # Qwen2-VL (a,b),(c,d)
)


def parse(text: str, ctx: HasSizes, *, limit: int = 256) -> tuple[Box, ...]:
    """The boxes that a model's text names, as pixels of the stored last image; never raises.

    Reads `[a, b, c, d]` and `[a, b, c, d, angle]` separated by commas or white space, alone, in
    lists, juxtaposed or inside JSON; GeoChat's `{<a><b><c><d>|<angle>}`; Qwen2-VL's
    `(a, b),(c, d)`.
    Four numbers without brackets are no box. Angles are taken in our sense, clockwise.

    Axis-aligned boxes are clipped to the image; a rotated box is kept as it is, as its corners
    before rotation may lie outside, unless nothing of it can be inside. A box with x1 <= x0 or
    y1 <= y0, before or after clipping, is dropped, and so is one with a number that is not finite
    or, in stored pixels, beyond 1e9.

    Args:
        text: An answer; only the first `answers.MAX_CHARS` characters are read.
        ctx: Where the sizes and the profile come from.
        limit: At most so many boxes are returned, the first ones.
    """
    if not ctx.image_sizes:
        return ()
    image_size = ctx.image_sizes[-1]
    x, y = units_per_px(ctx.profile, image_size, ctx.input_sizes[-1])
    found: list[Box] = []
    width, height = image_size
    for numbers in read_numbers(text[:MAX_CHARS]):
        if len(found) >= limit:
            break
        x0, y0, x1, y1, angle = numbers if len(numbers) == 5 else (*numbers, 0.0)
        box = Box(x0 / x, y0 / y, x1 / x, y1 / y, float(angle))
        if not angle and 0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height:
            found.append(box)  # as most are; the rest of the checks takes twice as long
            continue
        clipped = clip(box, image_size)
        if clipped is not None:
            found.append(clipped)
    return tuple(found)


def strip(text: str) -> str:
    """The text without the groups of numbers that `parse` reads as boxes, white space collapsed."""
    bare = _GROUP.sub(
        lambda match: match.group() if _group(match) is None else " ", text[:MAX_CHARS]
    )
    return " ".join(bare.split())


def target_boxes(target: Mapping[str, object]) -> tuple[Box, ...]:
    """The boxes of `target["boxes"]`, stored pixels, 4 or 5 numbers each; none if absent."""
    return tuple(Box(*map(float, numbers)) for numbers in target_numbers(target))


def target_numbers(target: Mapping[str, object]) -> Sequence[Sequence[float]]:
    """As `target_boxes`, as they are written."""
    return target.get("boxes") or ()  # type: ignore[return-value]


@lru_cache(maxsize=1024)  # every reward of a task reads the same answers
def read_numbers(text: str) -> tuple[_Numbers, ...]:
    """The groups of four or five numbers in the text, in order, unconverted."""
    if _LISTS.fullmatch(text):  # what most answers are, read in half the time
        try:
            found = json.loads(f"[{text}]")
        except (ValueError, RecursionError):
            pass
        else:
            if len(found) == text.count("[") and all(type(each) is list for each in found):
                return tuple(each for each in found if 4 <= len(each) <= 5)
    if "{" not in text and "(" not in text:
        return tuple(map(_floats, _PLAIN.findall(text)))
    groups = map(_group, _GROUP.finditer(text))
    return tuple(numbers for numbers in groups if numbers is not None)


def _group(match: re.Match[str]) -> _Numbers | None:
    plain, geochat, first, second = match.groups()
    text = plain or geochat or (f"{first},{second}" if first is not None else "")
    found = _VALUES.fullmatch(text)
    return _floats(found.groups()) if found else None


def _floats(parts: Sequence[str | None]) -> _Numbers:
    x0, y0, x1, y1, angle = parts
    return float(x0), float(y0), float(x1), float(y1), float(angle or 0)  # type: ignore[arg-type]
