"""Reads the answer about a window in the form that the task's target declares."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from geovlm import answers, boxes
from geovlm.api import Json
from geovlm.boxes import Box, HasSizes
from geovlm.files.jsontext import dumps

Kind: TypeAlias = Literal["boxes", "labels", "text"]

_NOTHING = frozenset({"none", "no", "nothing"})
_FENCE = re.compile(r"```(?:\w+(?=[\s\[{]))?")
"""Begin or end of a code block in Markdown, with its language."""
_OBJECT = re.compile(r"(\{[^{}]*\})")
_REFERENCE = re.compile(r"</?ref>|<\|object_ref_(?:start|end)\|>")
"""Marks around the name before a box, as InternVL and Qwen2-VL write it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """The content of one answer; all fields are empty if it could not be read."""

    understood: bool
    """True if the answer could be read."""
    reasoning: str = ""
    text: str = ""
    labels: tuple[str, ...] = ()
    boxes: tuple[tuple[Box, str], ...] = ()
    """(box in pixels of the window, label)."""


def kind(target: Mapping[str, Json], *, inputs: frozenset[str]) -> Kind:
    """Return the form of a task's answer: boxes, names from a vocabulary, or words.

    The target is made by `TaskSpec.blank`. Boxes among the user's inputs are not an answer.
    """
    if "boxes" in target and "boxes" not in inputs:
        return "boxes"
    return "labels" if "labels" in target and target.get("vocabulary") else "text"


def read(
    completion: str, *, how: Kind, target: Mapping[str, Json], default: str, sizes: HasSizes
) -> Reading:
    """Read one completion; never raises.

    An answer is not understood if it has no closed answer block, if the block is empty, if it holds
    no word of the vocabulary, or if boxes are expected and it holds neither a box nor `none` nor
    `[]`. Boxes that neither target nor answer names have the label `default`.
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
    if "box_labels" in target:
        found = _labelled(bare, target=target, default=default, sizes=sizes)
    else:
        found = _boxes(bare, label=label, default=default, named="text" in target, sizes=sizes)
    nothing = answers.normalise(bare) in _NOTHING or "".join(bare.split()) == "[]"
    understood = bool(found) or nothing
    return Reading(understood=understood, reasoning=reasoning, text=text, boxes=found)


def _labelled(
    text: str, *, target: Mapping[str, Any], default: str, sizes: HasSizes
) -> tuple[tuple[Box, str], ...]:
    """Return boxes with the labels of the vocabulary that the answer names for them."""
    read = boxes.parse_labelled(text, sizes, vocabulary=target["vocabulary"])
    return tuple((each.box, each.label or default) for each in read)


def _boxes(
    text: str, *, label: str, default: str, named: bool, sizes: HasSizes
) -> tuple[tuple[Box, str], ...]:
    """Return boxes with labels: the target's, or the phrase or JSON label next to each box."""
    if label or not (named or '"label"' in text):
        return tuple((box, label or default) for box in boxes.parse(text, sizes))
    listed = _json_labels(text)
    if listed is not None:
        pairs = ((box, name) for group, name in listed for box in boxes.parse(group, sizes))
        return tuple((box, name or default) for box, name in pairs)
    found: list[tuple[Box, str]] = []
    phrase = ""
    for piece in _OBJECT.split(text[: answers.MAX_CHARS]):
        here = boxes.phrases(piece, sizes)
        for before, box in here:
            phrase = ("" if piece.startswith("{") else _name(before)) or phrase
            found += [] if box is None else [(box, phrase or default)]
        phrase = ("" if here else _name(piece)) or phrase
    return tuple(found)


def _name(text: str) -> str:
    return " ".join(_REFERENCE.sub(" ", text).split()).strip(" ,;.[]")


def _unfenced(text: str) -> str:
    """Remove the marks of Markdown code blocks; if they hold one JSON list, return that alone."""
    parts = _FENCE.split(text[: answers.MAX_CHARS])
    lists = [part for part in parts[1::2] if _json_labels(part) is not None]
    return (lists[0] if len(lists) == 1 else " ".join(parts)).strip()


def _json_labels(text: str) -> list[tuple[str, str]] | None:
    """Return (box text, label) of `[{"bbox_2d": […], "label": …}]`; `None` for other text."""
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        return None
    return [(dumps(each), str(each.get("label") or "")) for each in listed]
