"""Reads boxes from the text that a model writes, and from a target."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import NamedTuple, TypeAlias, cast

from geovlm.answers import MAX_CHARS
from geovlm.boxes.frames import HasSizes, LastImage, clip, last_image, require_frame
from geovlm.boxes.notations import NOTATIONS, SHAPES, Notation, Shape
from geovlm.boxes.rectangle import Box, enclosing, match

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
_MORE_THAN_LISTS = re.compile(r"[{(<]|box_2d")

_SHAPED = {each.shape: each for each in reversed(NOTATIONS)}
"""Shape -> its notation where no mark stands before it: the first one of the table."""
_MARKED = {f"mark{i}": each for i, each in enumerate(NOTATIONS) if each.opening}
_CLOSING = {each: re.compile(rf"[\s\]]*+{each.closing}") for each in NOTATIONS if each.closing}
_BRANCHES = [f"(?P<{shape}>{pattern})" for shape, pattern in SHAPES.items()]
_BRANCHES += [f"(?P<{name}>{notation.opening})" for name, notation in _MARKED.items()]
# most letters begin no branch, and `re` then tries none
_TOKEN = re.compile(rf"""(?=[\[{{(<"'b])(?:{"|".join(_BRANCHES)})""")
_BRACKET = re.compile(r"[\[{(<]")
_BEHIND_MARK = re.compile(r"[\s\[\],]*+")
_NO_NUMBER = re.compile(r"</?box>|<loc|[\[\](){}]")


def parse(text: str, ctx: HasSizes, *, limit: int = 256) -> tuple[Box, ...]:
    """Read the boxes of a model's text, as pixels of the stored last image; no text makes it raise.

    Reads the notations of `geovlm.boxes.notations`: `[a, b, c, d]` and `[a, b, c, d, angle]`
    separated by commas or white space, alone, in lists, side by side or inside JSON, and those of
    the families. A notation whose marks name frame or order is read in those; the profile's count
    for the others. Four numbers without brackets or tags are not a box. Angles are read as
    clockwise.

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
    found = (box for box in placed(read(text[:MAX_CHARS]), ctx) if box is not None)
    return tuple(islice(found, limit))


def phrases(text: str, ctx: HasSizes) -> tuple[tuple[str, Box | None], ...]:
    """Return each box with the text between it and the one before; `None` for one `parse` drops.

    Raises:
        ConfigError: The frame of the family is not known.

    Example:
        >>> from geovlm.api import PromptContext
        >>> from geovlm.plugins.profiles import QWEN3_VL
        >>> size = (1000, 1000)
        >>> ctx = PromptContext(profile=QWEN3_VL, image_sizes=(size,), input_sizes=(size,))
        >>> phrases("a ship [1, 2, 30, 40]", ctx)
        (('a ship ', Box(x0=1.0, y0=2.0, x1=30.0, y1=40.0, angle_deg=0.0)),)
    """
    require_frame(ctx.profile)
    found: list[tuple[str, Box | None]] = []
    end = 0
    for group in groups(text[:MAX_CHARS]) if ctx.image_sizes else ():
        box = _placed(group.numbers, last_image(ctx, group.notation))
        found.append((text[end : group.start], box))
        end = group.end
    return tuple(found)


def read_back(
    text: str, ctx: HasSizes, *, truth: Sequence[Box | Sequence[float]]
) -> tuple[float, ...]:
    """Return the IoU of each true box with the box of a text that is paired with it; 0 for none.

    Call it with the correct answer as the model's tokenizer decodes it: a value below 0.9 means
    that text, tokens or sizes lose an object of 16 px. With `input_sizes` that the processor made
    it also shows a resize that was not declared. It cannot show a frame or an order that the
    profile states wrongly: the answer was written in them.

    A true box is taken as the family can write it: clipped to the image, and as its enclosing box
    if the family has no angles.

    Args:
        text: Question or answer; boxes in the model's frame.
        ctx: Holds profile and sizes; the last image counts.
        truth: Boxes of the target, pixels of the stored last image, each with area inside.

    Raises:
        ConfigError: The frame of the family is not known.

    Example:
        >>> from geovlm.api import PromptContext
        >>> from geovlm.plugins.profiles import QWEN3_VL
        >>> size = (1000, 1000)
        >>> ctx = PromptContext(profile=QWEN3_VL, image_sizes=(size,), input_sizes=(size,))
        >>> read_back("[0, 0, 100, 50]", ctx, truth=[[0, 0, 100, 100], [300, 300, 400, 400]])
        (0.5, 0.0)
    """
    size = ctx.image_sizes[-1]
    angles = ctx.profile.box_angle
    able = [clip(Box(*box) if angles else enclosing(Box(*box)), size) for box in truth]
    inside = [box for box in able if box is not None]
    found = {pair.truth: pair.iou for pair in match(inside, parse(text, ctx))}
    return tuple(found.get(i, 0.0) for i in range(len(inside)))


def strip(text: str) -> str:
    """Remove the boxes that `parse` reads, with the marks of their notation, and join white space.

    Args:
        text: An answer; only the first `answers.MAX_CHARS` characters are kept.

    Example:
        >>> strip("ship [1, 2, 30, 40],  large")
        'ship , large'
        >>> strip("ship <box>[[1, 2, 30, 40]]</box> at sea")
        'ship at sea'
    """
    text = text[:MAX_CHARS]
    kept, end = [], 0
    for group in groups(text) if _BRACKET.search(text) else ():
        kept.append(text[end : group.start])
        end = group.end
    return " ".join(" ".join([*kept, text[end:]]).split())


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


class Group(NamedTuple):
    """A group of four or five numbers in a text, with the marks of its notation."""

    start: int
    """Place of its first character; the mark is part of it."""
    end: int
    """Place behind its last character."""
    numbers: _Numbers
    """As they are written."""
    notation: Notation


class Read(NamedTuple):
    """The groups of numbers of a text."""

    numbers: tuple[_Numbers, ...]
    """As they are written, in order of the text."""
    fixed: Mapping[Notation, Sequence[int]]
    """Notation that names frame or order itself -> places in `numbers` of its boxes."""


@lru_cache(maxsize=1024)  # every reward of a task reads the same answers
def read(text: str) -> Read:
    """Return the groups of four or five numbers of a text; the same as `groups`, faster."""
    if _LISTS.fullmatch(text):  # most answers; JSON takes half the time
        try:
            found = json.loads(f"[{text}]")
        except (ValueError, RecursionError):
            pass
        else:
            if len(found) == text.count("[") and all(type(each) is list for each in found):
                return Read(tuple(each for each in found if 4 <= len(each) <= 5), {})
    if not _MORE_THAN_LISTS.search(text):
        return Read(tuple(map(_floats, _PLAIN.findall(text))), {})
    every = list(groups(text))
    return Read(tuple(each.numbers for each in every), fixed_places(every))


def fixed_places(found: Sequence[Group]) -> dict[Notation, list[int]]:
    """Return the places of groups whose notation names frame or order itself; see `Read.fixed`."""
    fixed: dict[Notation, list[int]] = {}
    for place, each in enumerate(found):
        if each.notation.is_fixed:
            fixed.setdefault(each.notation, []).append(place)
    return fixed


def placed(found: Read, ctx: HasSizes) -> Iterator[Box | None]:
    """Yield each group of numbers as a box of stored pixels; `None` for one that `parse` drops."""
    images = [last_image(ctx)] * len(found.numbers)
    for notation, places in found.fixed.items():
        own = last_image(ctx, notation)
        for place in places:
            images[place] = own
    yield from map(_placed, found.numbers, images)


def groups(text: str) -> Iterator[Group]:
    """Yield the groups of four or five numbers of a text, in order; no two share a character.

    A mark such as `"box_2d":` or `<box>` belongs to the groups behind it, as far as only brackets,
    commas and white space are between them.
    """
    mark: Notation | None = None
    begin: int | None = None  # of a mark that no group has taken into its span
    behind = 0
    for token in _TOKEN.finditer(text):
        kind = str(token.lastgroup)
        if kind in _MARKED:
            mark, begin, behind = _MARKED[kind], token.start(), token.end()
            continue
        if kind == "list":  # nearly all
            found = _VALUES.fullmatch(text, token.start() + 1, token.end() - 1)
        else:
            found = _VALUES.fullmatch(_NO_NUMBER.sub(" ", token.group()))
        if found is None:
            continue
        if mark and not _BEHIND_MARK.fullmatch(text, behind, token.start()):
            mark = begin = None
        own = _SHAPED[cast("Shape", kind)]
        closing = _CLOSING[mark].match(text, token.end()) if mark in _CLOSING else None
        yield Group(
            start=token.start() if begin is None else begin,
            end=closing.end() if closing else token.end(),
            numbers=_floats(found.groups()),
            notation=mark if mark and not own.is_fixed else own,
        )
        begin, behind = None, token.end()


def _placed(numbers: _Numbers, image: LastImage) -> Box | None:
    """Return numbers of a text as a box of stored pixels; `None` if nothing of it is inside."""
    width, height, x, y, y_first = image
    x0, y0, x1, y1, angle = numbers if len(numbers) == 5 else (*numbers, 0.0)
    if y_first:
        x0, y0, x1, y1 = y0, x0, y1, x1
    box = Box(x0 / x, y0 / y, x1 / x, y1 / y, float(angle))
    if not angle and 0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height:
        return box  # most boxes; the other checks take twice as long
    return clip(box, (width, height))


def _floats(parts: Sequence[str | None]) -> _Numbers:
    x0, y0, x1, y1, angle = parts
    return float(x0), float(y0), float(x1), float(y1), float(angle or 0)  # type: ignore[arg-type]
