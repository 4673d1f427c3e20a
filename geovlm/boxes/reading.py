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
    """Read the boxes of a model's text, as pixels of the stored last image; no text makes it raise.

    Reads `[a, b, c, d]` and `[a, b, c, d, angle]` separated by commas or white space, alone, in
    lists, side by side or inside JSON; GeoChat's `{<a><b><c><d>|<angle>}`; Qwen2-VL's
    `(a, b),(c, d)`. Four numbers without brackets are not a box. Angles are read as clockwise.

    Axis-aligned boxes are clipped to the image. A rotated box is kept as it is, because its corners
    before rotation may lie outside, unless its enclosing box lies outside. A box with x1 <= x0 or
    y1 <= y0, before or after clipping, is dropped, and so is one with a number that is not finite
    or is beyond 1e9 in stored pixels.

    Args:
        text: An answer in the model's frame; only the first `answers.MAX_CHARS` characters count.
        ctx: Holds profile and sizes; the last image counts.
        limit: Most boxes to return; the first ones are kept.

    Returns:
        The boxes in order of the text; empty if there is none, or no image.

    Raises:
        ConfigError: The frame of the family is not known, whatever the text.

    Example:
        >>> from geovlm.api import PromptContext
        >>> from geovlm.plugins.profiles import QWEN3_VL  # frame: 0..1000 along both sides
        >>> size = (800, 400)
        >>> ctx = PromptContext(profile=QWEN3_VL, image_sizes=(size,), input_sizes=(size,))
        >>> parse("One at [0, 0, 500, 250].", ctx)
        (Box(x0=0.0, y0=0.0, x1=400.0, y1=100.0, angle_deg=0.0),)
    """
    if not ctx.image_sizes:
        return ()
    image_size = ctx.image_sizes[-1]
    x, y = units_per_px(ctx.profile, image_size, ctx.input_sizes[-1])
    y_first = ctx.profile.box_order == "yxyx"
    found: list[Box] = []
    width, height = image_size
    for numbers in read_numbers(text[:MAX_CHARS]):
        if len(found) >= limit:
            break
        x0, y0, x1, y1, angle = numbers if len(numbers) == 5 else (*numbers, 0.0)
        if y_first:
            x0, y0, x1, y1 = y0, x0, y1, x1
        box = Box(x0 / x, y0 / y, x1 / x, y1 / y, float(angle))
        if not angle and 0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height:
            found.append(box)  # most boxes; the other checks take twice as long
            continue
        clipped = clip(box, image_size)
        if clipped is not None:
            found.append(clipped)
    return tuple(found)


def strip(text: str) -> str:
    """Remove the groups of numbers that `parse` reads as boxes, and collapse white space.

    Args:
        text: An answer; only the first `answers.MAX_CHARS` characters are kept.

    Example:
        >>> strip("ship [1, 2, 30, 40],  large")
        'ship , large'
    """
    bare = _GROUP.sub(
        lambda match: match.group() if _group(match) is None else " ", text[:MAX_CHARS]
    )
    return " ".join(bare.split())


def target_boxes(target: Mapping[str, object]) -> tuple[Box, ...]:
    """Return the boxes of `target["boxes"]`; empty if the key is absent.

    Args:
        target: `Sample.target`; its boxes have four or five numbers each, pixels of the stored
            last image.

    Example:
        >>> target_boxes({"boxes": [[1, 2, 30, 40]]})
        (Box(x0=1.0, y0=2.0, x1=30.0, y1=40.0, angle_deg=0.0),)
    """
    return tuple(Box(*map(float, numbers)) for numbers in target_numbers(target))


def target_numbers(target: Mapping[str, object]) -> Sequence[Sequence[float]]:
    """Return the numbers of `target["boxes"]` as they are written; empty if absent."""
    return target.get("boxes") or ()  # type: ignore[return-value]


@lru_cache(maxsize=1024)  # every reward of a task reads the same answers
def read_numbers(text: str) -> tuple[_Numbers, ...]:
    """Return the groups of four or five numbers of the text, as they are written."""
    if _LISTS.fullmatch(text):  # most answers; JSON takes half the time
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
