"""The built-in rewards: the method's own ("paper"), and counterparts that resist gaming.

Every reward reads the answer block of the completion only; the two format rewards read the tags.
Formulas of the paper set follow arXiv 2509.25026 as far as it is public; where it leaves a case
open, the docstring says what is done here. Those of boxes and of sentence embeddings score a batch
at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

from geovlm import answers, boxes
from geovlm.api import RewardContext
from geovlm.rewards.boxes import detection
from geovlm.rewards.reading import label_sets, references
from geovlm.rewards.text import lexical, overlap, ratio, semantic

# -- format ---------------------------------------------------------------------------------------


def format_think(completion: str, ctx: RewardContext) -> float:
    """1 if exactly one well-formed, non-empty think block comes before the answer, else 0."""
    return float(answers.has_think(completion))


def format_answer(completion: str, ctx: RewardContext) -> float:
    """1 if exactly one well-formed, non-empty answer block ends the completion, else 0."""
    return float(answers.has_answer(completion))


# -- paper ----------------------------------------------------------------------------------------


def recall(completion: str, ctx: RewardContext) -> float:
    """Share of the true labels that the answer names; extra labels cost nothing.

    Labels are matched against `target["vocabulary"]`. No true label: 1 if none is named, else 0.
    """
    truth, named = label_sets(completion, ctx)
    if not truth:
        return float(not named)
    return len(truth & named) / len(truth)


def levenshtein(completion: str, ctx: RewardContext) -> float:
    """Levenshtein ratio of the normalised answer and the nearest reference, in [0, 1]."""
    text = answers.answer_text(completion)
    return max((ratio(text, reference) for reference in references(ctx.target)), default=0.0)


def jaccard(completion: str, ctx: RewardContext) -> float:
    """Jaccard index of the word sets of answer and gold answer; both empty: 1."""
    text = answers.answer_text(completion)
    return max((overlap(text, reference) for reference in references(ctx.target)), default=0.0)


def sbert(completions: Sequence[str], contexts: Sequence[RewardContext]) -> list[float]:
    """max(0, cosine) of the sentence embeddings of answer and nearest reference; empty text: 0.

    One encode call per batch; embeddings of references are cached.
    """
    return semantic([answers.answer_text(c) for c in completions], contexts)


def lmgr(completions: Sequence[str], contexts: Sequence[RewardContext]) -> list[float]:
    """(R_LM + detection) / 2; R_LM is taken on the text without its boxes.

    The method does not define R_LM; here it is the Levenshtein ratio, or what the option `lexical`
    names.
    """
    texts = [boxes.strip(answers.answer_text(completion)) for completion in completions]
    return [
        (lexical(text, ctx) + found) / 2
        for text, ctx, found in zip(texts, contexts, detection(completions, contexts), strict=True)
    ]


def hslr(completions: Sequence[str], contexts: Sequence[RewardContext]) -> list[float]:
    """(sbert + R_LM) / 2, R_LM as in `lmgr`."""
    texts = [answers.answer_text(completion) for completion in completions]
    meaning = semantic(texts, contexts)
    return [
        (value + lexical(text, ctx)) / 2
        for value, text, ctx in zip(meaning, texts, contexts, strict=True)
    ]
