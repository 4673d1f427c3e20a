"""Tells the kind of an exchange by the columns of its folder and by its text."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from geovlm_earthdial import edits, grammar
from geovlm_earthdial.folders import CAPTIONS, QUESTION, TRUTH, TURNS, Folder


class Exchange(NamedTuple):
    """A question and its answer; several answers are reference captions."""

    kind: str
    """A key of `geovlm_earthdial.KINDS`; empty for a conversation."""
    question: str
    """As EarthDial's evaluation asks it, `<image>` included; of a training row as stored."""
    truths: list[str]
    suffix: str = ""
    """Tells the exchanges of a row apart."""


def exchanges(folder: Folder, row: dict[str, Any]) -> list[Exchange]:
    """Return the exchanges of a row; none if a text is absent or is not a text."""
    if folder.form == "turns":
        return _turns(row[TURNS], images=len(folder.images))
    names = CAPTIONS if folder.form == "captions" else (TRUTH,)
    question, truths = row[QUESTION], [row[name] for name in names]
    if not isinstance(question, str) or not isinstance(truths[0], str):
        return []
    kind = _kind(folder, question, edits.answer(truths[0]).strip())
    said = [edits.answer(each) if isinstance(each, str) else "" for each in truths]
    return [Exchange(kind, edits.edited(question, kind=kind), said)]


def _kind(folder: Folder, question: str, truth: str) -> str:
    """Return the kind of a row for testing."""
    one = len(folder.images) == 1
    if folder.form in ("objects", "vqa"):
        return {"objects": "ground", "vqa": "vqa"}[folder.form]
    if folder.form == "captions":
        return "caption" if one else "change"
    if folder.form == "regions":
        return "refer" if "[refer]" in question or truth.startswith("[[") else "region"
    if one:
        return "classify"
    return _of_several(question, truth) or "series"


def _of_several(question: str, truth: str) -> str:
    """Return the kind of an exchange about several images; empty if it is an answer in words."""
    if truth.startswith("[["):
        return "locate"
    if "describe the damage" in question:
        return "damage"
    return "change" if "semantic change" in question else ""


def _turns(stored: Any, *, images: int) -> list[Exchange]:
    """Return the exchanges of a training row: JSON of LLaVA turns, or of an object with them."""
    try:
        listed = json.loads(stored)
    except (TypeError, ValueError, RecursionError):
        return []
    if isinstance(listed, dict):
        listed = listed.get(TURNS)
    if not isinstance(listed, list):
        return []
    texts = [(each.get("from"), each.get("value")) for each in listed if isinstance(each, dict)]
    found = []
    for number, ((asker, question), (speaker, answer)) in enumerate(
        zip(texts[::2], texts[1::2], strict=False)
    ):
        fits = asker in ("human", "user") and speaker in ("gpt", "assistant")
        if fits and isinstance(question, str) and isinstance(answer, str):
            kind = _kind_of_turn(question, answer.strip(), images=images)
            found.append(Exchange(kind, question, [answer], f"/{number}"))
    return found


def _kind_of_turn(question: str, answer: str, *, images: int) -> str:
    short = "single word" in question or "word or a short phrase" in question
    if images > 1:
        return _of_several(question, answer) or ("series" if grammar.classes(question) else "")
    if answer.startswith("[["):
        return "refer"
    if "<box>" in answer:
        return "ground"
    if "[identify]" in question and not grammar.classes(question):
        return "region"
    if "[caption]" in question:
        return "caption"
    if grammar.classes(question):
        return "classify"
    return "vqa" if short else ""
