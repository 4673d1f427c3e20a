"""Writes the model card of nano."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from tools.nano.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Facts on how a model was made."""

    settings: Settings
    size: int
    """Parameters."""
    seconds: float


def card(scores: Mapping[str, Mapping[str, float]], *, made: Provenance) -> str:
    """Return Markdown with the command that made the model and its scores per question family.

    `scores` has a name of a column -> family -> score, see `recipe.measure`.
    """
    rows = "\n".join(
        f"| {family} | {' | '.join(f'{column[family]:.2f}' for column in scores.values())} |"
        for family in next(iter(scores.values()))
    )
    options = " ".join(
        f"--{name.replace('_', '-')} {value}"
        for name, value in asdict(made.settings).items()
        if value != ""
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

Made in {made.seconds / 3600:.1f} hours on one CPU core by

    python -m tools.nano.recipe --out DIR {options}

The weights are stored in float16 and load in float32.

Greedy scores on 100 held-out examples per family: without and with the `<think>` and `<answer>`
tags, with the images of another example, and of the most frequent answer. Box families: mean best
IoU, excess boxes punished. Land cover: F1. The rest: share of exactly right answers.

| family | {" | ".join(scores)} |
|{"---|" * (1 + len(scores))}
{rows}
"""
