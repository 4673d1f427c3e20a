"""Measures how similar texts are, for the caption and VQA rewards of the method."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from geovlm import answers, boxes
from geovlm.api import RewardContext
from geovlm.rewards.reading import references


class Rouge(NamedTuple):
    """F-measures in [0, 1]."""

    rouge1: float
    rougeL: float


def ratio(text: str, reference: str) -> float:
    """Return the Levenshtein ratio of two texts, normalised."""
    import Levenshtein

    return float(Levenshtein.ratio(answers.normalise(text), answers.normalise(reference)))


def overlap(text: str, reference: str) -> float:
    """Return the Jaccard index of two sets of words; without words: 1 if the texts are equal."""
    one, other = set(answers.words(text)), set(answers.words(reference))
    return len(one & other) / len(one | other) if one or other else float(same(text, reference))


def same(text: str, reference: str) -> bool:
    """True if both texts are equal, normalised."""
    return answers.normalise(text) == answers.normalise(reference)


def lexical(text: str, ctx: RewardContext) -> float:
    """R_LM of a text and the nearest reference without its boxes, 0 to 1; no reference: 0."""
    kind = ctx.options.get("lexical", "levenshtein")
    measure = {"levenshtein": ratio, "jaccard": overlap, "rougeL": rouge_l}[str(kind)]
    return max((measure(text, boxes.strip(r)) for r in references(ctx.target)), default=0.0)


def rouge_l(text: str, reference: str) -> float:
    """Return F of the longest common subsequence of stemmed words, of any script; see `stems`."""
    return rouge(stems(reference), stems(text), same=same(text, reference)).rougeL


def rouge(wanted: Sequence[str], named: Sequence[str], *, same: bool = False) -> Rouge:
    """Return ROUGE-1 and ROUGE-L F of two lists of words, as rouge-score computes them.

    The longest common subsequence is counted by rapidfuzz. If neither list holds a word (signs or
    emoji alone), `same` states if the texts are equal; equal texts have 1.
    """
    from rapidfuzz.distance import LCSseq

    if not wanted or not named:
        equal = float(same and not wanted and not named)
        return Rouge(equal, equal)
    left = Counter(named)
    shared = 0
    for word in wanted:
        if left.get(word, 0) > 0:
            left[word] -= 1
            shared += 1
    longest = LCSseq.similarity(wanted, named)
    return Rouge(*(2 * each / (len(wanted) + len(named)) for each in (shared, longest)))


def stems(text: str) -> tuple[str, ...]:
    """Return the words of a text as `answers.words` finds them, English endings removed.

    Of a text in ASCII they are those of rouge-score with its stemmer.
    """
    words = (part for word in answers.words(text) for part in word.split("_") if part)
    return tuple(map(stem, words))


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """Return an ASCII word of more than three letters without its ending, as Porter; else as is."""
    return str(_porter().stem(word)) if len(word) > 3 and word.isascii() else word


@lru_cache(maxsize=1)
def _porter() -> Any:
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()


def semantic(texts: Sequence[str], contexts: Sequence[RewardContext]) -> list[float]:
    """Return max(0, cosine) of each text and the nearest of its references.

    Raises:
        GeoVLMError: no sentence encoder is installed.
    """
    from geovlm.rewards import encoder

    name = contexts[0].options.get("encoder") if contexts else None
    return encoder.similarities(
        texts, [references(ctx.target) for ctx in contexts], name=str(name) if name else None
    )
