r"""Model text in, values out. Nothing here raises on text, and everything is linear in its length.

A completion is `<think> … </think><answer> … </answer>`. The tags are read from the raw decoded
text; only the answer block counts for content, so a completion without one has the empty answer.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from geovlm.api import Turn

INSTRUCTION = "First reason in <think> </think>, then answer in <answer> </answer>."
"""Added to every question; a run may word it otherwise."""

MAX_CHARS = 20_000
"""Longer text is cut before it is parsed."""

_TAG = re.compile(r"</?(?:think|answer)>")
_SIGNED = re.compile(r"-?\.?[0-9]")
_NUMBER = re.compile(r"[-+]?[0-9][0-9,]*(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?|[-+]?\.[0-9]+")
_WORD = re.compile(r"\w+")
_SPACE = re.compile(r"\s+")
_EDGE = " \t\r\n.,;:!?\"'`()[]{}*"


def frame(turn: Turn) -> str:
    """Return the completion of a perfect model: reasoning and answer in their tags.

    Raises:
        ValueError: reasoning or answer is empty; such a target would teach a broken format.
    """
    if not turn.reasoning.strip() or not turn.answer.strip():
        raise ValueError("a turn needs reasoning and an answer to be framed")
    return f"<think> {turn.reasoning.strip()} </think><answer> {turn.answer.strip()} </answer>"


def answer_text(completion: str) -> str:
    """Return the content of the last closed `<answer>` block, stripped; empty if there is none."""
    return _last_block(completion[:MAX_CHARS], "answer")


def think_text(completion: str) -> str:
    """Return the content of the last closed `<think>` block, stripped; empty if there is none."""
    return _last_block(completion[:MAX_CHARS], "think")


def has_think(completion: str) -> bool:
    """Whether there is exactly one well-formed, non-empty think block, before any answer tag.

    False if a think tag is missing, repeated, unclosed or nested, if the block is empty or holds an
    answer tag, or if an answer tag comes before it.
    """
    tags, text = _tags(completion)
    names = [name for name, _, _ in tags]
    if names.count("<think>") != 1 or names.count("</think>") != 1:
        return False
    if names[:2] != ["<think>", "</think>"]:
        return False
    return bool(text[tags[0][2] : tags[1][1]].strip())


def has_answer(completion: str) -> bool:
    """Whether there is exactly one well-formed, non-empty answer block, with nothing after it.

    False if an answer tag is missing, repeated, unclosed or nested, if the block is empty or holds
    a think tag, if a think tag follows, or if anything but white space follows. A missing think
    block alone does not make it false.
    """
    tags, text = _tags(completion)
    names = [name for name, _, _ in tags]
    if names.count("<answer>") != 1 or names.count("</answer>") != 1:
        return False
    if names[-2:] != ["<answer>", "</answer>"]:
        return False
    return bool(text[tags[-2][2] : tags[-1][1]].strip()) and not text[tags[-1][2] :].strip()


def normalise(text: str) -> str:
    """Return the text in NFKC, case-folded, white space collapsed, edge punctuation stripped."""
    folded = unicodedata.normalize("NFKC", text[:MAX_CHARS]).casefold()
    return _SPACE.sub(" ", folded).strip(_EDGE)


def words(text: str) -> list[str]:
    """Return the words (runs of letters, digits and underscores) of the normalised text."""
    return _WORD.findall(normalise(text))


def labels(text: str, vocabulary: Sequence[str]) -> tuple[str, ...]:
    """Return the vocabulary entries that the text names, each once, in order of appearance.

    Longer entries are matched first, so an entry inside another (or one with commas) is not taken
    for two. Case and white space do not count: `MediumResidential` names `Medium Residential`. A
    match must not begin or end inside a word of the text.
    """
    pattern, entries = _vocabulary(tuple(vocabulary))
    if pattern is None:
        return ()
    found: dict[str, None] = {}
    for match in pattern.finditer(normalise(text)):
        found.setdefault(entries[_squash(match.group())], None)
    return tuple(found)


def number(text: str) -> float | None:
    """Return the last number in the text, or `None`; `1,234` is 1234 and `9658m2` is 9658.

    Only ASCII digits are read; what is not finite as a float is no number.
    """
    area = re.sub(r"(?<=[0-9])\s*m2\b", " ", text[:MAX_CHARS])
    found = _NUMBER.findall(area)
    for candidate in reversed(found):
        value = float(candidate.replace(",", ""))
        if math.isfinite(value):
            return value
    return None


def _tags(completion: str) -> tuple[list[tuple[str, int, int]], str]:
    """Return the tags with their start and end, and the text that they were found in."""
    text = completion[:MAX_CHARS]
    return [(m.group(), m.start(), m.end()) for m in _TAG.finditer(text)], text


def _last_block(text: str, tag: str) -> str:
    close = text.rfind(f"</{tag}>")
    if close < 0:
        return ""
    start = text.rfind(f"<{tag}>", 0, close)
    return text[start + len(tag) + 2 : close].strip() if start >= 0 else ""


def _squash(text: str) -> str:
    return _SPACE.sub("", text)


@lru_cache(maxsize=1024)
def _vocabulary(entries: tuple[str, ...]) -> tuple[re.Pattern[str] | None, dict[str, str]]:
    """Return a pattern that matches any entry, longest first, and squashed entry -> entry."""
    by_squashed = {_squash(normalise(entry)): entry for entry in entries}
    by_squashed.pop("", None)
    if not by_squashed:
        return None, {}
    parts = []
    for squashed in sorted(by_squashed, key=len, reverse=True):
        spaced = normalise(by_squashed[squashed])
        parts.append(" ?".join(re.escape(word) for word in spaced.split(" ")))
    return re.compile(rf"(?<!\w)(?:{'|'.join(parts)})(?!\w)"), by_squashed
