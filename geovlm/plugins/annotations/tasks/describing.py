"""Asks for a sentence about the image or about a marked part of it: the task `caption`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from geovlm.api import Json, PromptContext, Sample, Turn
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.records import BOX, Record
from geovlm.plugins.annotations.tasks import asking

QUESTION = "Describe the image in one sentence."
"""The question where neither the description nor the row has one."""


@dataclass(frozen=True, slots=True)
class Asker:
    """The `prompt` of a task."""

    description: Description

    def __call__(self, sample: Sample, ctx: PromptContext) -> Turn:
        """Return question and first caption of a sample."""
        captions: Any = sample.target["captions"]
        return Turn(
            question=asking.question(self.description, sample, ctx, default=QUESTION),
            answer=captions[0],
            reasoning=str(sample.target.get("reasoning", "")),
        )


def lacks(record: Record, own: Description) -> str:
    """Return what a record lacks for the task; empty if nothing."""
    if not record.captions and (record.answer is None or BOX in record.answer):
        return "a caption"
    return asking.unplaced(record, own)


def target(record: Record, own: Description) -> dict[str, Json]:
    """Return the target of a record that lacks nothing; an answer is the only caption."""
    return {"captions": list(record.captions or filter(None, [record.answer]))}


def summary(own: Description) -> str:
    """Return the line that says what is asked."""
    return "A description of a marked part." if asking.marks(own) else "A description of the image."


@dataclass(frozen=True, slots=True)
class Blank:
    """The `blank` of a task."""

    description: Description

    def __call__(self, said: Mapping[str, Json]) -> Mapping[str, Json]:
        """Return a target without a caption."""
        return {"captions": [""], **said}
