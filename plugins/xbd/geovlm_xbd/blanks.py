"""Builds targets without the correct answer, for the questions of `geovlm predict`."""

from __future__ import annotations

from collections.abc import Mapping

from geovlm.api import Json
from geovlm_xbd import COUNTS, DAMAGES, DISASTERS, VERDICTS

_UNKNOWN: Mapping[str, Json] = {"buildings": []}
"""Buildings that the reasoning would name."""


def detect(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Ask for all damaged buildings."""
    return {"boxes": [], "label": "damaged building", **_UNKNOWN}


def refer(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Ask for the buildings of one level in one part of the image."""
    level, place = said["level"], said["place"]
    return {"boxes": [], "level": level, "place": place, "label": level, **_UNKNOWN}


def assess(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Ask for the level of the building that the user marks."""
    return {"boxes": said["boxes"], **_closed(DAMAGES)}


def disaster(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Ask for the type of the disaster."""
    return {**_closed(DISASTERS), **_UNKNOWN}


def affected(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Ask whether any building is damaged."""
    return {**_closed(VERDICTS), **_UNKNOWN}


def count(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Ask how many buildings are damaged."""
    return {**_closed(COUNTS), **_UNKNOWN}


def caption(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Ask for one sentence."""
    return {"captions": [""], **_UNKNOWN}


def _closed(vocabulary: tuple[str, ...]) -> Mapping[str, Json]:
    return {"answer": vocabulary[0], "labels": [vocabulary[0]], "vocabulary": list(vocabulary)}
