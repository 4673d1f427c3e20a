"""The built-in rewards: the method's own ("paper"), and counterparts that resist gaming.

Every reward reads the answer block of the completion only; the two format rewards read the tags.
Formulas of the paper set follow arXiv 2509.25026 as far as it is public; where it leaves a case
open, the docstring says what is done here. Those of boxes and of sentence embeddings score a batch
at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from geovlm import answers, boxes
from geovlm.api import RewardContext
from geovlm.errors import ConfigError
from geovlm.rewards.boxes import detection, matched_iou
from geovlm.rewards.reading import MAX_BOXES, box_lists, label_sets, references
from geovlm.rewards.robust import caption_f1, exact, grounded_f1, label_f1
from geovlm.rewards.text import lexical, overlap, ratio, semantic

__all__ = [
    "MAX_BOXES",
    "caption_f1",
    "detection",
    "exact",
    "explain",
    "format_answer",
    "format_think",
    "grounded_f1",
    "hslr",
    "jaccard",
    "label_f1",
    "levenshtein",
    "lmgr",
    "matched_iou",
    "recall",
    "references",
    "sbert",
    "validate_options",
]

NEED_ENCODER = frozenset({"sbert", "hslr"})
"""Rewards that embed sentences."""
_OPTIONS: dict[str, tuple[str, ...] | None] = {
    "encoder": None,
    "lexical": ("levenshtein", "jaccard", "rougeL"),
    "hbb": ("enclosing", "drop"),
}


def validate_options(options: Mapping[str, Any]) -> None:
    """Check the `[reward_options]` of a run.

    Raises:
        ConfigError: an unknown option or value; names both and what is allowed.
    """
    for key, value in options.items():
        if key not in _OPTIONS:
            raise ConfigError(
                f"unknown key reward_options.{key}", hint=f"there are {', '.join(sorted(_OPTIONS))}"
            )
        allowed = _OPTIONS[key]
        if not isinstance(value, str) or (allowed is not None and value not in allowed):
            raise ConfigError(
                f"reward_options.{key} is {value!r}",
                hint=f"one of {', '.join(allowed)}" if allowed else "a name or folder",
            )


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


def explain(name: str, completion: str, ctx: RewardContext) -> dict[str, Any]:
    """Return what a built-in reward saw: for people who ask why."""
    parts: dict[str, Any] = {
        "answer": answers.answer_text(completion),
        "think": answers.think_text(completion),
        "format/think": answers.has_think(completion),
        "format/answer": answers.has_answer(completion),
    }
    if "vocabulary" in ctx.target and "labels" in ctx.target:
        truth, named = label_sets(completion, ctx)
        parts["labels"] = {"true": sorted(truth), "named": sorted(named)}
    if "boxes" in ctx.target:
        truth_boxes, predicted = box_lists(completion, ctx)
        parts["boxes"] = {
            "true": [list(box) for box in truth_boxes],
            "predicted": [list(box) for box in predicted],
            "matched": boxes.match(truth_boxes, predicted),
        }
    if references(ctx.target):
        parts["references"] = list(references(ctx.target))
    return parts
