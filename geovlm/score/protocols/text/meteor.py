"""Computes METEOR with NLTK, if NLTK's copy of WordNet is installed.

NLTK's METEOR matches equal words, equal stems (Porter) and WordNet's synonyms, with α 0.9, β 3,
γ 0.5. Its numbers are not those of the Java program of coco-caption: never compare the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

_ADVICE = "needs NLTK's WordNet: python -m nltk.downloader wordnet"


class _Synonyms:
    """WordNet with a cache: captions use few words, and a look-up is slow."""

    def __init__(self, wordnet: Any) -> None:
        self.synsets = lru_cache(maxsize=100_000)(wordnet.synsets)


@lru_cache(maxsize=1)
def _synonyms() -> _Synonyms | None:
    try:
        from nltk.corpus import wordnet

        wordnet.ensure_loaded()
    except (ImportError, LookupError):
        return None
    return _Synonyms(wordnet)


def present() -> bool:
    """True if NLTK and its WordNet are installed."""
    return _synonyms() is not None


def left_out(name: str = "meteor") -> dict[str, str]:
    """Return the score's name -> what it needs, if it cannot be computed; else nothing."""
    return {} if present() else {name: _ADVICE}


def best(truths: Sequence[str], answer: str) -> float:
    """METEOR in [0, 1] of the best reference; words are separated by blanks, in lower case."""
    from nltk.translate.meteor_score import meteor_score

    words: Any = _synonyms()
    return float(meteor_score([t.split() for t in truths], answer.split(), wordnet=words))


def counts(truths: Sequence[str], answer: str) -> dict[str, float]:
    """`meteor` of one case, or nothing where it cannot be computed."""
    return {"meteor": best(truths, answer)} if present() else {}
