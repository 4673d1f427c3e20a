"""Asks for the boxes of all labels in one question: the task `detect` with `ask = "all"`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from geovlm import boxes
from geovlm.api import Json, PromptContext, Sample, Turn
from geovlm.boxes import Labelled
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.tasks import detecting

QUESTION = "Detect every object of these labels: {labels}."
"""The question where the description has none; `{labels}` are all labels."""


@dataclass(frozen=True, slots=True)
class Chooser:
    """The `samples` of a task: one per image, with its objects of the labels that are asked for."""

    description: Description

    def __call__(self, record: Sample) -> Iterator[Sample]:
        """Yield the sample of a record."""
        wanted = self.description.labels
        found = [each for each in _labelled(record.target) if each.label in wanted]
        found.sort(key=lambda each: wanted.index(str(each.label)))
        target: dict[str, Any] = {
            "boxes": [list(each.box[: 5 if each.box.angle_deg else 4]) for each in found],
            "box_labels": [each.label for each in found],
            "vocabulary": list(wanted),
        }
        yield dataclasses.replace(record, target=target)


@dataclass(frozen=True, slots=True)
class Asker:
    """The `prompt` of a task."""

    description: Description

    def __call__(self, sample: Sample, ctx: PromptContext) -> Turn:
        """Return question and correct answer of a sample."""
        own, found = self.description, _labelled(sample.target)
        return Turn(
            question=(own.question or QUESTION).replace("{labels}", ", ".join(own.labels)),
            answer=boxes.write_labelled(found, ctx),
            reasoning="" if own.reasoning == "none" else _reasoning(found, ctx),
        )


@dataclass(frozen=True, slots=True)
class Blank:
    """The `blank` of a task: a target without boxes."""

    description: Description

    def __call__(self, said: Mapping[str, Json]) -> Mapping[str, Json]:
        """Return the target."""
        return {"boxes": [], "box_labels": [], "vocabulary": list(self.description.labels)}


def summary(description: Description) -> str:
    """Return the line that says what is asked."""
    return f"Label and b{detecting.summary(description)[1:]}"


def _labelled(target: Mapping[str, Any]) -> list[Labelled]:
    return list(map(Labelled, boxes.target_boxes(target), target["box_labels"]))


def _reasoning(found: list[Labelled], ctx: PromptContext) -> str:
    """Return number and places of the objects of each label that is there."""
    parts = []
    for label in dict.fromkeys(str(each.label) for each in found):
        own = tuple(each.box for each in found if each.label == label)
        size = ctx.image_sizes[-1]
        parts.append(detecting.reasoning(own, size, one=label, several=f"{label} objects"))
    return " ".join(parts) or "None of these objects is there."
