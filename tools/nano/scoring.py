"""Scores nano's greedy answers per question family, on scenes that training never uses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from tools.nano.batch import prompts
from tools.nano.questions import FAMILIES, Example, draw

HELD_OUT_SEED = 987_654_321
_BOX = re.compile(r"\[(\d+), (\d+), (\d+), (\d+)\]")
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


def held_out(*, n: int, tagged: float, seed: int = HELD_OUT_SEED) -> list[Example]:
    """Return `n` examples of every family."""
    rng = np.random.default_rng(seed)
    return [draw(rng, family=family, tagged=tagged) for family in FAMILIES for _ in range(n)]


@torch.no_grad()
def answer(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    *,
    max_new_tokens: int = 128,
    batch: int = 128,
) -> list[str]:
    """Return greedy completions, decoded without special tokens."""
    texts = []
    for start in range(0, len(examples), batch):
        inputs = prompts(examples[start : start + batch], tokenizer)
        made = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
        made = made[:, inputs["input_ids"].shape[1] :]
        texts += tokenizer.batch_decode(made, skip_special_tokens=True)
    return texts


def scores(examples: Sequence[Example], texts: Sequence[str]) -> dict[str, float]:
    """Return mean scores per family: boxes by overlap, land cover by F1, the rest by equality.

    Overlap is the mean over true boxes of the best IoU, times the share of boxes that are not in
    excess; without true boxes, it is 1 if none is given. Of a text with tags, the answer block
    counts.
    """
    sums: dict[str, list[float]] = {}
    for example, text in zip(examples, texts, strict=True):
        found = _ANSWER.search(text)
        given = (found.group(1) if found else text).strip()
        sums.setdefault(example.family, []).append(_score(example, given))
    return {family: float(np.mean(values)) for family, values in sums.items()}


def shuffled(examples: Sequence[Example]) -> list[Example]:
    """Return the examples, each with the images of the next one of its family."""
    found = []
    for family in dict.fromkeys(example.family for example in examples):
        own = [example for example in examples if example.family == family]
        others = own[1:] + own[:1]
        found += [replace(a, images=b.images) for a, b in zip(own, others, strict=True)]
    return found


def most_frequent(examples: Sequence[Example]) -> dict[str, float]:
    """Return the scores per family of always giving its most frequent answer."""
    counts: dict[str, Counter[str]] = {}
    for example in examples:
        counts.setdefault(example.family, Counter())[example.answer] += 1
    said = {family: many.most_common(1)[0][0] for family, many in counts.items()}
    return scores(examples, [said[example.family] for example in examples])


def _score(example: Example, given: str) -> float:
    if example.family == "land cover":
        truth, guess = set(example.answer.split(", ")), set(given.split(", "))
        return 2 * len(truth & guess) / (len(truth) + len(guess))
    if "box" in example.family and example.family != "object at box":
        return _overlap(_BOX.findall(example.answer), _BOX.findall(given))
    return float(given == example.answer)


def _overlap(truth: list[tuple[str, ...]], guess: list[tuple[str, ...]]) -> float:
    if not truth or not guess:
        return float(len(truth) == len(guess))
    best = [max(_iou(a, b) for b in guess) for a in truth]
    return float(np.mean(best)) * min(1.0, len(truth) / len(guess))


def _iou(a: tuple[str, ...], b: tuple[str, ...]) -> float:
    ax0, ay0, ax1, ay1 = map(int, a)
    bx0, by0, bx1, by1 = map(int, b)
    across, down = min(ax1, bx1) - max(ax0, bx0), min(ay1, by1) - max(ay0, by0)
    both = max(0, across) * max(0, down)
    union = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - both
    return both / union if union > 0 else 0.0
