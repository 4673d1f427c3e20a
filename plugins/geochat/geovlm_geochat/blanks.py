"""Builds targets without the correct answer, for the questions of `geovlm predict`.

The wording is that of the data set's own questions, cleaned as in `geovlm_geochat.turns`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geovlm.api import Json

SHORT = "Answer the question using a single word or phrase."
REGION = "What is the object present at"
DESCRIBE = "Describe the image in detail."


def classify(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Ask for the scene, out of the user's classes.

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
    """Ask the user's question; the answer is a word or a phrase."""
    question = str(said["question"])
    spoken = question if SHORT in question else f"{question} {SHORT}"
    return {"answer": "", "type": "other", "question": spoken}


def caption(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Ask for a description of the box that the user marks."""
    marked: Any = said["boxes"]
    pieces: list[Json] = [[REGION, list(range(len(marked)))]]
    return {"captions": [""], "facts": {}, "boxes": marked, "pieces": pieces, "question": REGION}


def refer(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Ask for the objects that a phrase describes."""
    phrase = str(said["phrase"]).strip()
    question = f"Give me the location of {phrase}"
    return {"boxes": [], "phrase": phrase, "label": phrase, "question": question}


def ground(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Ask for a description of the image, with boxes after the phrases."""
    return {"text": "", "boxes": [], "pieces": [], "question": DESCRIBE}
