"""Asks where things are: the boxes of a phrase (`refer`), or a text with boxes in it (`ground`).

The names are those of GeoChat's tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from geovlm import boxes
from geovlm.api import Json, PromptContext, Sample, Turn
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.records import BOX, Record
from geovlm.plugins.annotations.tasks import asking, detecting

REFER = "Locate {phrase} in the image."
"""The question of `refer` where neither the description nor the row has one."""
GROUND = "Describe the image. Write the boxes after each phrase."
"""The question of `ground` where neither the description nor the row has one."""


@dataclass(frozen=True, slots=True)
class Asker:
    """The `prompt` of a task."""

    description: Description

    def __call__(self, sample: Sample, ctx: PromptContext) -> Turn:
        """Return question and correct answer of a sample."""
        own, held = self.description, boxes.target_boxes(sample.target)
        derived = detecting.reasoning(
            held, ctx.image_sizes[-1], one="object fits", several="objects fit"
        )
        own_words = str(sample.target.get("reasoning", derived))
        if own.task == "refer":
            answer, default = boxes.write(held, ctx), REFER
        else:
            answer, default = asking.placed(str(sample.target["marked"]), held, ctx), GROUND
        return Turn(
            question=asking.question(own, sample, ctx, default=default),
            answer=answer,
            reasoning="" if own.reasoning == "none" else own_words,
        )


def lacks(record: Record, own: Description) -> str:
    """Return what a record lacks for a task; empty if nothing."""
    if own.task == "ground":
        marked = (record.answer or "").count(BOX)
        return "" if marked and marked == len(record.boxes or ()) else "a text with boxes in it"
    asked = BOX in record.question and not record.phrase
    if record.boxes is None or asked or (record.answer and BOX in record.answer):
        return "boxes as its answer"
    return "" if record.phrase or record.question else "a phrase"


def target(record: Record, own: Description) -> dict[str, Json]:
    """Return the target of a record that lacks nothing, without its boxes."""
    if own.task == "refer":
        return {"phrase": record.phrase or record.question}
    marked = record.answer or ""
    return {"marked": marked, "text": " ".join(marked.replace(BOX, " ").split())}


def summary(own: Description) -> str:
    """Return the line that says what is asked."""
    if own.task == "refer":
        return "Boxes of what a phrase means."
    return "A description of the image with boxes in it."


@dataclass(frozen=True, slots=True)
class Blank:
    """The `blank` of a task."""

    description: Description

    def __call__(self, said: Mapping[str, Json]) -> Mapping[str, Json]:
        """Return a target without boxes."""
        if self.description.task == "refer":
            phrase = said["phrase"]
            return {"boxes": [], "phrase": phrase, "label": phrase}
        return {"boxes": [], "marked": "", "text": ""}
