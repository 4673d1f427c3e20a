"""Asks for all land-cover classes of a patch, out of a list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from geovlm.api import Json, PromptContext, Sample, Turn
from geovlm_bigearthnet.classes import CLASSES_19, CLASSES_43, FAMILIES, FAMILY_OF
from geovlm_bigearthnet.views import described


def prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for the classes; list and answer are separated by `;`, since names contain commas.

    Several images, or one that is not in true colour, are explained first.
    """
    labels: Any = sample.target["labels"]
    vocabulary: Any = sample.target["vocabulary"]
    return _turn(described(sample.images), tuple(labels), tuple(vocabulary))


@lru_cache(maxsize=16_384)  # patches of equal labels share their turn: there are half a million
def _turn(images: str, labels: tuple[str, ...], vocabulary: tuple[str, ...]) -> Turn:
    return Turn(
        question=(
            f"{images}"
            f"Which land-cover classes are present? Choose from: {'; '.join(vocabulary)}. "
            'Separate them by "; ".'
        ),
        answer="; ".join(labels),
        reasoning=_reasoning(labels),
    )


def blank(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a target without the correct answer, of 19 or 43 classes, for `geovlm predict`."""
    return {"labels": [], "vocabulary": list(CLASSES_43 if said["classes"] == "43" else CLASSES_19)}


def _reasoning(labels: tuple[str, ...]) -> str:
    """Return the reasoning: number of classes per CORINE level 1 family, and families without."""
    number = Counter(FAMILY_OF[label] for label in labels)
    seen = ", ".join(f"{family} ({number[family]})" for family in FAMILIES if number[family])
    absent = ", ".join(family for family in FAMILIES if not number[family])
    return f"Present: {seen}. Absent: {absent}." if absent else f"Present: {seen}."
