"""Judges and cleans the reference sentences of the sets; published scores take them as they lie."""

from __future__ import annotations

import re
from collections.abc import Sequence

from geovlm import answers

MIN_WORDS = 3
"""Smallest number of words of a sentence that is worth learning; a few have fewer, or none."""
_BEFORE_MARK = re.compile(r"\s+([.,;!?])")


def is_usable(sentence: str) -> bool:
    """Return True for a sentence of at least `MIN_WORDS` words."""
    return len(answers.words(sentence)) >= MIN_WORDS


def tidy(sentence: str) -> str:
    """Return a sentence without superfluous blanks: `a  field .` becomes `a field.`."""
    return _BEFORE_MARK.sub(r"\1", " ".join(sentence.split()))


def best(sentences: Sequence[str]) -> str:
    """Return the tidy form of the first usable sentence, of the longest one if none is usable."""
    usable = (sentence for sentence in sentences if is_usable(sentence))
    return tidy(next(usable, max(sentences, key=len)))
