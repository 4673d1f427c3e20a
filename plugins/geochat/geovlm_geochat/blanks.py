"""Targets without gold, from which the prompts write their questions for `geovlm predict`.

The wording is that of the data set's own questions, cleaned as `geovlm_geochat.turns` does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geovlm.api import Json

SHORT = "Answer the question using a single word or phrase."
REGION = "What is the object present at"
DESCRIBE = "Describe the image in detail."


def classify(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Name the scene out of the user's classes.

    Raises:
        ValueError: fewer than two classes.
    """
    classes = [name.strip() for name in str(said["classes"]).split(",") if name.strip()]
    if len(classes) < 2:
        raise ValueError("classes: at least two, with commas between")
    question = (
        "Classify the given image in one of the following classes. "
        f"Classes: {', '.join(classes)}. Answer in one word or a short phrase."
    )
    answer: dict[str, Json] = {"answer": classes[0], "labels": [classes[0]]}
    return answer | {"vocabulary": list(classes), "question": question}


def vqa(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Answer the user's question with a word or a phrase."""
    question = str(said["question"])
    spoken = question if SHORT in question else f"{question} {SHORT}"
    return {"answer": "", "type": "other", "question": spoken}


def caption(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Describe what the user marks."""
    marked: Any = said["boxes"]
    pieces: list[Json] = [[REGION, list(range(len(marked)))]]
    return {"captions": [""], "facts": {}, "boxes": marked, "pieces": pieces, "question": REGION}


def refer(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Find what a phrase means."""
    phrase = str(said["phrase"]).strip()
    question = f"Give me the location of {phrase}"
    return {"boxes": [], "phrase": phrase, "label": phrase, "question": question}


def ground(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Describe the image, with boxes after the phrases."""
    return {"text": "", "boxes": [], "pieces": [], "question": DESCRIBE}
