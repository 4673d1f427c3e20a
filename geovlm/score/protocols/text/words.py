"""Counts words as the published scorers do: token recall, ROUGE, exact answers, label sets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from geovlm import answers

if TYPE_CHECKING:
    from nltk.tokenize import NLTKWordTokenizer

_LATIN = re.compile(r"[a-z0-9]+")
_SEPARATOR = re.compile(r"[,;\n]")


class Rouge(NamedTuple):
    """F-measures in [0, 1]."""

    rouge1: float
    rougeL: float


def token_recall(truth: str, answer: str) -> float:
    """Share of the truth's words that the answer has too, in [0, 1]; order and extras are free.

    The text is put in lower case, all blanks are removed, then NLTK splits it into words and
    punctuation marks. EarthDial prints this as accuracy (hiyamdebary/EarthDial,
    src/earthdial/eval/rs_vqa/eval.py, 92c1260). Repeated words of the truth count once in the
    numerator and each time in the denominator. No truth: 0.
    """
    wanted = _squeezed_words(truth)
    shared = set(wanted) & set(_squeezed_words(answer))
    return len(shared) / len(wanted) if shared else 0.0


def exact(truth: str, answer: str) -> bool:
    """True if both texts are equal except for case, blanks and outer punctuation."""
    return _plain(truth) == _plain(answer)


def label_set(text: str, vocabulary: Sequence[str] = ()) -> frozenset[str]:
    """Labels that a text names: entries of the vocabulary, else its parts between commas or `;`."""
    if vocabulary:
        return frozenset(_plain(label) for label in answers.labels(text, vocabulary))
    return frozenset(filter(None, (_plain(part) for part in _SEPARATOR.split(text))))


def set_f1(truth: frozenset[str], named: frozenset[str]) -> float:
    """F1 of two sets, 1 if both are empty."""
    total = len(truth) + len(named)
    return 2 * len(truth & named) / total if total else 1.0


def spread(text: str) -> str:
    """Return the text with one blank between NLTK's words, as EarthDial's caption scorer does.

    A text in which NLTK splits no word of letters and digits is returned as it is: ROUGE is equal.
    """
    if "'" not in text and not any(each.search(text) for each in _nltk().CONTRACTIONS2):
        return text
    return " ".join(_nltk().tokenize(text))


@lru_cache(maxsize=200_000)  # references repeat, and so do the answers of a model
def rouge(truth: str, answer: str) -> Rouge:
    """ROUGE-1 and ROUGE-L F of stemmed words, equal to `rouge_score.RougeScorer`.

    The longest common subsequence is counted by rapidfuzz.
    """
    from rapidfuzz.distance import LCSseq

    wanted, named = stems(truth), stems(answer)
    if not wanted or not named:
        return Rouge(0.0, 0.0)
    left = Counter(named)
    shared = 0
    for word in wanted:
        if left.get(word, 0) > 0:
            left[word] -= 1
            shared += 1
    longest = LCSseq.similarity(wanted, named)
    return Rouge(*(2 * each / (len(wanted) + len(named)) for each in (shared, longest)))


@lru_cache(maxsize=200_000)
def stems(text: str) -> tuple[str, ...]:
    """Words of a text as rouge-score sees them: a-z and 0-9 in lower case, long ones stemmed."""
    words = _LATIN.findall(text.lower())
    return tuple(_stem(word) if len(word) > 3 else word for word in words)


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    return str(_porter().stem(word))


@lru_cache(maxsize=1)
def _porter() -> Any:
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()


@lru_cache(maxsize=1)
def _nltk() -> NLTKWordTokenizer:
    from nltk.tokenize import NLTKWordTokenizer

    return NLTKWordTokenizer()


@lru_cache(maxsize=100_000)
def _squeezed_words(text: str) -> tuple[str, ...]:
    # `word_tokenize` is this tokenizer behind a sentence splitter, which needs downloaded data and
    # finds no sentence end in a text without blanks.
    return tuple(_nltk().tokenize(text.strip().lower().replace(" ", "")))


@lru_cache(maxsize=100_000)
def _plain(text: str) -> str:
    return answers.normalise(text).replace(" ", "")
