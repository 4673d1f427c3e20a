"""Builds targets without the correct answer, for the questions of `geovlm predict`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from geovlm.api import Json
from geovlm_rsvqa import tasks, xben


def low_res(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a target whose counts are answered by class."""
    question = str(said["question"])
    return _target(tasks.COUNT_CLASSES if tasks.counted(question) else ())


def high_res(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a target whose areas are answered by class, counts as numbers."""
    question = str(said["question"]).lower()
    return _target(tasks.AREA_CLASSES if question.startswith("what is the area") else ())


def closed(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a target that is answered by a word."""
    return _target(())


def land_cover(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a target whose type decides how the answer is described."""
    listed = xben.asks_for_list(str(said["question"]))
    return {"answer": "", "type": "LC" if listed else "presence"}


def _target(vocabulary: Sequence[str]) -> Mapping[str, Json]:
    target: dict[str, Json] = {"answer": "", "raw": "", "type": "", "counts": {}}
    return target | {"vocabulary": list(vocabulary)} if vocabulary else target
