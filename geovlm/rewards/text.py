"""Measures how similar texts are, for the caption and VQA rewards of the method."""

from __future__ import annotations

from collections.abc import Sequence

from geovlm import answers, boxes
from geovlm.api import RewardContext
from geovlm.rewards.reading import references


def ratio(text: str, reference: str) -> float:
    """Return the Levenshtein ratio of two texts, normalised."""
    import Levenshtein

    return float(Levenshtein.ratio(answers.normalise(text), answers.normalise(reference)))


def overlap(text: str, reference: str) -> float:
    """Return the Jaccard index of two sets of words; both empty: 1."""
    one, other = set(answers.words(text)), set(answers.words(reference))
    return len(one & other) / len(one | other) if one or other else 1.0


def lexical(text: str, ctx: RewardContext) -> float:
    """R_LM of a text and the nearest reference without its boxes, 0 to 1; no reference: 0."""
    kind = ctx.options.get("lexical", "levenshtein")
    measure = {"levenshtein": ratio, "jaccard": overlap, "rougeL": rouge_l}[str(kind)]
    return max((measure(text, boxes.strip(r)) for r in references(ctx.target)), default=0.0)


def rouge_l(text: str, reference: str) -> float:
    """Return rouge-score's F of the longest common subsequence of stemmed words."""
    from rouge_score.rouge_scorer import RougeScorer

    score = RougeScorer(["rougeL"], use_stemmer=True).score(reference, text)
    return float(score["rougeL"].fmeasure)


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
