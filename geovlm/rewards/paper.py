"""Computes the rewards of the method, arXiv 2509.25026; that of boxes is in `geovlm.rewards.boxes`.

Every reward reads the answer block of the completion only; the two format rewards read the tags.
The formulas are those of the paper as far as it is public (its equation numbers are not); where it
leaves a case open, the docstring states what is done here. Values are in [0, 1].
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
    """1 if exactly one well-formed, non-empty think block comes before the answer, else 0.

    Source: the think part of the paper's format reward.

    >>> format_think("<think>a quay</think><answer>harbour</answer>", None)
    1.0
    >>> format_think("<think></think><answer>harbour</answer>", None)
    0.0
    """
    return float(answers.has_think(completion))


def format_answer(completion: str, ctx: RewardContext) -> float:
    """1 if exactly one well-formed, non-empty answer block ends the completion, else 0.

    Source: the answer part of the paper's format reward.

    >>> format_answer("<think>a quay</think><answer>harbour</answer>", None)
    1.0
    >>> format_answer("<answer>harbour</answer> or beach", None)
    0.0
    """
    return float(answers.has_answer(completion))


# -- paper ----------------------------------------------------------------------------------------


def recall(completion: str, ctx: RewardContext) -> float:
    """Share of the true labels that the answer names; extra labels cost nothing.

    Labels are matched against `target["vocabulary"]`. No true label: 1 if none is named, else 0.
    Source: R_Recall = TP / (TP + FN).

    >>> from types import SimpleNamespace
    >>> target = {"labels": ["sea", "beach"], "vocabulary": ["sea", "beach", "forest"]}
    >>> recall("<answer>sea, forest</answer>", SimpleNamespace(target=target))
    0.5
    """
    truth, named = label_sets(completion, ctx)
    if not truth:
        return float(not named)
    return len(truth & named) / len(truth)


def levenshtein(completion: str, ctx: RewardContext) -> float:
    """Levenshtein ratio of the normalised answer and the nearest reference; no reference: 0.

    Source: the paper names a Levenshtein similarity ratio; the form is that of python-Levenshtein.

    >>> from types import SimpleNamespace
    >>> ctx = SimpleNamespace(target={"captions": ["two ships", "a pier"]})
    >>> round(levenshtein("<answer>Two ship</answer>", ctx), 3)
    0.941
    """
    text = answers.answer_text(completion)
    return max((ratio(text, reference) for reference in references(ctx.target)), default=0.0)


def jaccard(completion: str, ctx: RewardContext) -> float:
    """Jaccard index of the word sets of the answer and the nearest reference; both empty: 1.

    Source: the paper names a Jaccard similarity; |A and B| / |A or B| is the textbook form.

    >>> from types import SimpleNamespace
    >>> jaccard("<answer>yes, no</answer>", SimpleNamespace(target={"answer": "yes"}))
    0.5
    """
    text = answers.answer_text(completion)
    return max((overlap(text, reference) for reference in references(ctx.target)), default=0.0)


def sbert(completions: Sequence[str], contexts: Sequence[RewardContext]) -> list[float]:
    """max(0, cosine) of the sentence embeddings of answer and nearest reference; empty text: 0.

    One encode call per batch; embeddings of references are cached. Source: R_SBERT. The paper does
    not name the encoder; see `geovlm.rewards.encoder` for ours.

    Raises:
        GeoVLMError: no sentence encoder is installed.
    """
    return semantic([answers.answer_text(c) for c in completions], contexts)


def lmgr(completions: Sequence[str], contexts: Sequence[RewardContext]) -> list[float]:
    """(R_LM + detection) / 2; R_LM is taken on the text without its boxes.

    Source: R_LMGR. The paper does not define R_LM; here it is the Levenshtein ratio, or the measure
    that the option `lexical` names.

    >>> from types import SimpleNamespace
    >>> from geovlm.plugins.profiles import QWEN2_5_VL
    >>> size = ((280, 280),)
    >>> ctx = SimpleNamespace(
    ...     target={"text": "a ship", "boxes": [[0, 0, 56, 56]]}, options={},
    ...     image_sizes=size, input_sizes=size, profile=QWEN2_5_VL,
    ... )
    >>> lmgr(["<answer>a ship [0, 0, 28, 56]</answer>"], [ctx])
    [0.75]
    """
    texts = [boxes.strip(answers.answer_text(completion)) for completion in completions]
    return [
        (lexical(text, ctx) + found) / 2
        for text, ctx, found in zip(texts, contexts, detection(completions, contexts), strict=True)
    ]


def hslr(completions: Sequence[str], contexts: Sequence[RewardContext]) -> list[float]:
    """(sbert + R_LM) / 2, R_LM as in `lmgr`; errors as for `sbert`. Source: R_HSLR."""
    texts = [answers.answer_text(completion) for completion in completions]
    meaning = semantic(texts, contexts)
    return [
        (value + lexical(text, ctx)) / 2
        for value, text, ctx in zip(meaning, texts, contexts, strict=True)
    ]
