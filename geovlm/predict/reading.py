"""What a window's answer says, read as the task's target says it is written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from geovlm import answers, boxes
from geovlm.api import Json, ModelProfile, Size
from geovlm.boxes.rectangle import Box

Kind: TypeAlias = Literal["boxes", "labels", "text"]

_NOTHING = frozenset({"none", "no", "nothing"})
_FENCE = re.compile(r"```(?:\w+(?=[\s\[{]))?")
"""Begins or ends a block of code in Markdown, its language included."""
_GROUPS = re.compile(r"(\[[^\[\]]*\]|\{[^{}]*\}|\([^()]*\)\s*,?\s*\([^()]*\))")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """What `geovlm.boxes` needs to know of a window."""

    profile: ModelProfile
    image_sizes: tuple[Size, ...]
    input_sizes: tuple[Size, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """The content of one answer; all empty where it could not be read."""

    understood: bool
    reasoning: str = ""
    text: str = ""
    labels: tuple[str, ...] = ()
    boxes: tuple[tuple[Box, str], ...] = ()
    """(pixels of the window, label)."""


def kind(target: Mapping[str, Json], *, asked: frozenset[str]) -> Kind:
    """How a task is answered: by boxes, by names out of a vocabulary, or by words.

    Args:
        target: without gold, as `TaskSpec.blank` makes it.
        asked: what the user said; boxes that the user marked are no answer.
    """
    if "boxes" in target and "boxes" not in asked:
        return "boxes"
    return "labels" if "labels" in target and target.get("vocabulary") else "text"


def read(
    completion: str, *, how: Kind, target: Mapping[str, Json], default: str, sizes: Sizes
) -> Reading:
    """Read one completion; never raises.

    Not understood: no closed answer block, boxes asked for and neither a box nor `none` nor `[]` in
    it, no word of the vocabulary, nothing at all.

    Args:
        completion: the raw text of the model.
        how: what `kind` says.
        target: without gold; `label`, `vocabulary` and `text` are read.
        default: label of boxes that neither target nor answer names.
        sizes: of the window.
    """
    text = answers.answer_text(completion)
    reasoning = answers.think_text(completion)
    if not text:
        return Reading(understood=False)
    if how == "labels":
        vocabulary: Any = target["vocabulary"]
        named = answers.labels(text, vocabulary)
        return Reading(understood=bool(named), reasoning=reasoning, text=text, labels=named)
    if how == "text":
        return Reading(understood=True, reasoning=reasoning, text=text)
    label = str(target.get("label") or "")
    bare = _unfenced(text)
    found = _boxes(bare, label=label, default=default, named="text" in target, sizes=sizes)
    nothing = answers.normalise(bare) in _NOTHING or "".join(bare.split()) == "[]"
    understood = bool(found) or nothing
    return Reading(understood=understood, reasoning=reasoning, text=text, boxes=found)


def _boxes(
    text: str, *, label: str, default: str, named: bool, sizes: Sizes
) -> tuple[tuple[Box, str], ...]:
    """The boxes with their labels: the target's, or the phrase or JSON label next to a box."""
    if label or not (named or '"label"' in text):
        return tuple((box, label or default) for box in boxes.parse(text, sizes))
    listed = _json_labels(text)
    if listed is not None:
        pairs = ((box, name) for group, name in listed for box in boxes.parse(group, sizes))
        return tuple((box, name or default) for box, name in pairs)
    found: list[tuple[Box, str]] = []
    phrase = ""
    for piece in _GROUPS.split(text[: answers.MAX_CHARS]):
        here = boxes.parse(piece, sizes)
        found += [(box, phrase or default) for box in here]
        phrase = (boxes.strip(piece).strip(" ,;.") if not here else "") or phrase
    return tuple(found)


def _unfenced(text: str) -> str:
    """The text without the marks of Markdown's code; of one JSON list in them, that alone."""
    parts = _FENCE.split(text[: answers.MAX_CHARS])
    lists = [part for part in parts[1::2] if _json_labels(part) is not None]
    return (lists[0] if len(lists) == 1 else " ".join(parts)).strip()


def _json_labels(text: str) -> list[tuple[str, str]] | None:
    """(box text, label) of `[{"bbox_2d": […], "label": …}]`, or `None` if it is no such list."""
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        return None
    return [(json.dumps(each), str(each.get("label") or "")) for each in listed]
