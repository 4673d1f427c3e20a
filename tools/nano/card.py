"""Writes the model card of nano."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tools.nano import dense


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Facts on how a model was made; `start` is the folder that training continued, if any."""

    steps: int
    vision_steps: int
    seed: int
    batch: int
    learning_rate: float
    size: int
    seconds: float
    start: str


def card(scores: Mapping[str, Mapping[str, float]], *, made: Provenance) -> str:
    """Return Markdown with the command that made the model and its scores per question family."""
    rows = "\n".join(
        f"| {family} | {scores['plain'][family]:.2f} | {scores['tagged'][family]:.2f} |"
        for family in scores["plain"]
    )
    command = (
        f"python -m tools.nano.recipe --out DIR --vision-steps {made.vision_steps}"
        f" --steps {made.steps} --seed {made.seed} --batch {made.batch}"
        f" --learning-rate {made.learning_rate:g}"
        + (f" --start {made.start}" if made.start else "")
    )
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: image-text-to-text
---
# geovlm nano

A Qwen2.5-VL of {made.size / 1e6:.2f} million parameters for trying out post-training on
Earth-observation tasks without a network or a GPU. It knows drawn scenes only
(`geovlm.scenes`), seen at 84 x 84 px, and is of no use on real imagery.

Made in {made.seconds / 60:.0f} minutes on two CPU cores by

    {command}

The vision tower first learned to map {made.vision_steps * dense.BATCH:,} drawn pictures; then,
with the tower frozen, the language model learned to answer from {made.steps * made.batch:,} drawn
examples.

The weights are stored in float16 and load in float32.

Greedy scores on 32 held-out examples per family, without and with the `<think>` and `<answer>`
tags. Box families: mean best IoU, excess boxes punished. Land cover: F1. The rest: share of exactly
right answers.

| family | plain | tagged |
|---|---|---|
{rows}
"""
