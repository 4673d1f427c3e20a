"""Writes and reads boxes with the label of each: `car: [x0, y0, x1, y1], [...]; truck: [...]`.

GeoVLM writes, and so teaches, this form for every family. It reads the forms of the families too: a
name before the boxes, bare or in the marks of a reference, a `label` in the JSON object of a box,
and a name behind location tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from geovlm import answers
from geovlm.boxes.frames import HasSizes, require_frame
from geovlm.boxes.reading import Group, Read, fixed_places, groups, placed
from geovlm.boxes.rectangle import Box
from geovlm.boxes.writing import write

_KEY = re.compile(r"""["']label["']\s*+[:=]|</?ref>|<\|object_ref_(?:start|end)\|>""")
"""Marks around a label that are no part of it."""
_WORD = re.compile(r"\w")
_BRACKETS = frozenset("[](){}<>")


class Labelled(NamedTuple):
    """A box and what it shows."""

    box: Box
    """Pixels of the stored last image."""
    label: str | None
    """`None`: the text names no label of the vocabulary for it, or several."""


def write_labelled(labelled: Iterable[Labelled], ctx: HasSizes) -> str:
    """Return boxes with their labels as a model should write them; `none` for no box.

    Boxes of one label stand behind it, and labels in order of first appearance. Numbers and frames
    are those of `geovlm.boxes.write`.

    Args:
        labelled: Boxes in pixels of the stored last image, each with a label.
        ctx: Holds profile and sizes; the last image counts.

    Raises:
        ConfigError: The frame of the family is not known.
        DataError: A box has no area inside the image.

    Example:
        >>> from geovlm.api import PromptContext
        >>> from geovlm.plugins.profiles import QWEN3_VL
        >>> size = (1000, 1000)
        >>> ctx = PromptContext(profile=QWEN3_VL, image_sizes=(size,), input_sizes=(size,))
        >>> car, bus = Labelled(Box(0, 0, 40, 20), "car"), Labelled(Box(5, 5, 90, 70), "bus")
        >>> write_labelled([car, bus, car], ctx)
        'car: [0, 0, 40, 20], [0, 0, 40, 20]; bus: [5, 5, 90, 70]'
    """
    require_frame(ctx.profile)
    of_label: dict[str | None, list[Box]] = {}
    for each in labelled:
        of_label.setdefault(each.label, []).append(each.box)
    return "; ".join(f"{label}: {write(own, ctx)}" for label, own in of_label.items()) or "none"


def parse_labelled(
    text: str, ctx: HasSizes, *, vocabulary: Sequence[str], limit: int = 256
) -> tuple[Labelled, ...]:
    """Read the boxes of a text, each with its label; no text makes it raise.

    The boxes are those of `geovlm.boxes.parse`. The label of a box is the only entry of the
    vocabulary in its JSON object, behind its location tokens, or else between it and the box
    before. Where no word stands there, it is that of the box before. Two entries, or words that are
    none, are no label.

    Args:
        text: An answer in the model's frame; only the first `answers.MAX_CHARS` characters count.
        ctx: Holds profile and sizes; the last image counts.
        vocabulary: Possible labels; they are read as by `geovlm.answers.labels`.
        limit: Most boxes to return; the first ones are kept.

    Raises:
        ConfigError: The frame of the family is not known.

    Example:
        >>> from geovlm.api import PromptContext
        >>> from geovlm.plugins.profiles import QWEN3_VL
        >>> size = (1000, 1000)
        >>> ctx = PromptContext(profile=QWEN3_VL, image_sizes=(size,), input_sizes=(size,))
        >>> text = '[{"bbox_2d": [0, 0, 40, 20], "label": "car"}]'
        >>> parse_labelled(text, ctx, vocabulary=["car", "bus"])
        (Labelled(box=Box(x0=0.0, y0=0.0, x1=40.0, y1=20.0, angle_deg=0.0), label='car'),)
    """
    require_frame(ctx.profile)
    if not ctx.image_sizes:
        return ()
    read, labels = read_labelled(text, tuple(vocabulary))
    boxes = placed(read, ctx)
    both = zip(boxes, labels, strict=True)
    return tuple(Labelled(box, label) for box, label in both if box is not None)[:limit]


def unreadable(labels: Sequence[str]) -> str:
    """Return the reason why answers with these labels cannot be read back; empty if they can."""
    for label in labels:
        if _BRACKETS & set(label):
            return f"{label!r} has a bracket"
        if answers.labels(label, labels) != (label,):
            return f"{label!r} has no letter or digit, or is spelt as another"
    return ""


@lru_cache(maxsize=1024)  # every reward and metric of a task reads the same answers
def read_labelled(text: str, vocabulary: tuple[str, ...]) -> tuple[Read, tuple[str | None, ...]]:
    """Return the groups of numbers of a text, and the label of each."""
    text = text[: answers.MAX_CHARS]
    found = list(groups(text))
    labels = tuple(_labels(text, found, vocabulary))
    return Read(tuple(each.numbers for each in found), fixed_places(found)), labels


def _labels(text: str, found: Sequence[Group], vocabulary: Sequence[str]) -> Iterator[str | None]:
    ends = [0, *(each.end for each in found)]
    starts = [*(each.start for each in found), len(text)]
    gaps = [_KEY.sub(" ", text[end:start]) for end, start in zip(ends, starts, strict=True)]
    label: str | None = None
    before = gaps[0]
    for group, gap in zip(found, gaps[1:], strict=True):
        closing = ";" if group.notation.shape == "bins" else "}"
        behind, closed, after = gap.partition(closing)
        if not closed and (group.notation.shape != "bins" or group is not found[-1]):
            behind, after = "", gap
        if _WORD.search(before) or _WORD.search(behind):
            label = _only(behind, vocabulary) or _only(before, vocabulary)
        yield label
        label, before = None if closed else label, after


def _only(text: str, vocabulary: Sequence[str]) -> str | None:
    named = answers.labels(text, vocabulary)
    return named[0] if len(named) == 1 else None
