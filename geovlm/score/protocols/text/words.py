"""Counts words as the published scorers do: token recall, ROUGE, exact answers, label sets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from geovlm import answers
from geovlm.rewards import text as any_script
from geovlm.rewards.text import Rouge

if TYPE_CHECKING:
    from nltk.tokenize import NLTKWordTokenizer

_LATIN = re.compile(r"[a-z0-9]+")
_SEPARATOR = re.compile(r"[,;\n\uff0c\uff1b\u3001\u060c\u061b]")
"""Between labels: comma and semicolon, those of Chinese, Japanese and Arabic, and a line's end."""


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
    """True if both texts are equal except for case, blanks and outer punctuation.

    Of texts that are punctuation alone, only the same one is equal.
    """
    one, other = _plain(truth), _plain(answer)
    return one == other if one or other else truth.strip() == answer.strip() != ""


def label_set(text: str, vocabulary: Sequence[str] = ()) -> frozenset[str]:
    """Labels that a text names: entries of the vocabulary, else its parts between separators."""
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
    """ROUGE-1 and ROUGE-L F of stemmed words, equal to `rouge_score.RougeScorer`."""
    return any_script.rouge(stems(truth), stems(answer))


@lru_cache(maxsize=200_000)
def rouge_any(truth: str, answer: str) -> Rouge:
    """ROUGE-1 and ROUGE-L F of stemmed words of any script; of ASCII texts equal to `rouge`."""
    if truth.isascii() and answer.isascii():
        return rouge(truth, answer)
    wanted, named = any_script.stems(truth), any_script.stems(answer)
    return any_script.rouge(wanted, named, same=any_script.same(truth, answer))


@lru_cache(maxsize=200_000)
def stems(text: str) -> tuple[str, ...]:
    """Words of a text as rouge-score sees them: a-z and 0-9 in lower case, long ones stemmed."""
    return tuple(map(any_script.stem, _LATIN.findall(text.lower())))


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
