"""Judges and cleans the reference sentences of a sample."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from geovlm import answers
from geovlm.api import LoadContext

MIN_WORDS = 3
"""Smallest number of words of a sentence that is worth learning."""
_BEFORE_MARK = re.compile(r"\s+([.,;!?])")


def target(ctx: LoadContext, said: Sequence[Any], *, item: str) -> dict[str, Any] | None:
    """Return `captions` and `changed` of a sample, or `None` without any sentence.

    `captions` are all sentences as they lie, since published scores average over them; in the split
    `train` those of at least three words, without superfluous blanks. A sample is unchanged if all
    of its sentences state so.
    """
    texts = [each for each in said if isinstance(each, str)]
    if len(texts) < len(said):
        ctx.skip("caption without a text", item)
    filled = [text for text in texts if text.strip()]
    if not filled:
        ctx.skip("no usable caption", item)
        return None
    changed = not all(map(answers.says_unchanged, filled))
    if ctx.split == "train":
        kept = [text for text in filled if _is_usable(text)]
        for text in texts:
            if text not in kept:
                ctx.skip(f"caption of fewer than {MIN_WORDS} words", f"{item}: {text!r}")
        if not kept:
            ctx.skip("no usable caption", item)
            return None
        texts = [tidy(text) for text in kept]
    return {"captions": texts, "changed": changed}


def tidy(sentence: str) -> str:
    """Return a sentence without superfluous blanks: ` a  road .` becomes `a road.`."""
    return _BEFORE_MARK.sub(r"\1", " ".join(sentence.split()))


def best(sentences: Sequence[str], *, changed: bool) -> str:
    """Return the tidy form of the sentence to learn.

    It is the first usable one that states a change, or on an unchanged sample that nothing changed;
    annotators may disagree. Without a usable one it is the longest.
    """
    tests: tuple[Callable[[str], bool], ...] = (
        lambda text: _is_usable(text) and answers.says_unchanged(text) != changed,
        _is_usable,
    )
    for test in tests:
        for sentence in sentences:
            if test(sentence):
                return tidy(sentence)
    return tidy(max(sentences, key=len))


def _is_usable(sentence: str) -> bool:
    return len(answers.words(sentence)) >= MIN_WORDS
