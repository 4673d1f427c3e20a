"""Asks for the boxes of a label: questions and correct answers of the task `detect`."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from geovlm import boxes
from geovlm.api import Asked, Json, PromptContext, Sample, Turn
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.records import Record

QUESTION = "Detect every {label} in the image."
"""The question where the description has none; `{label}` is the label asked for."""
_SHOWN = 4
"""Labels that the summary names."""
_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True, slots=True)
class Splitter:
    """The `samples` of a task: one per label that the image has.

    An image without objects is asked for one label, which its id chooses; the answer is `none`.
    """

    description: Description

    def __call__(self, record: Sample) -> Iterator[Sample]:
        """Yield the samples of a record."""
        wanted = self.description.labels
        found = boxes.target_boxes(record.target)
        labels = [str(each) for each in _texts(record.target["box_labels"])]
        present = [label for label in wanted if label in labels]
        if not present:
            digest = hashlib.sha256(record.id.encode()).digest()
            present = [wanted[int.from_bytes(digest[:8], "big") % len(wanted)]]
        for label in present:
            own = [list(box) for box, each in zip(found, labels, strict=True) if each == label]
            yield dataclasses.replace(
                record,
                id=f"{record.id}/{label}" if len(wanted) > 1 else record.id,
                target={"boxes": own, "label": label},  # type: ignore[dict-item]  # numbers
            )


@dataclass(frozen=True, slots=True)
class Asker:
    """The `prompt` of a task."""

    description: Description

    def __call__(self, sample: Sample, ctx: PromptContext) -> Turn:
        """Return question and correct answer of a sample."""
        own = self.description
        label = str(sample.target["label"])
        found = boxes.target_boxes(sample.target)
        said = reasoning(found, ctx.image_sizes[-1], one=label, several=f"{label} objects")
        return Turn(
            question=(own.question or QUESTION).replace("{label}", label),
            answer=boxes.write(found, ctx),
            reasoning="" if own.reasoning == "none" else said,
        )


def lacks(record: Record, description: Description) -> str:
    """Return `boxes` for a record without a list of boxes."""
    if record.boxes is None:
        return "boxes"
    return "" if all(each.label for each in record.boxes) else "labels of its boxes"


def target(record: Record, description: Description) -> dict[str, Json]:
    """Return the target of a record without its boxes: their labels."""
    return {"box_labels": [each.label for each in record.boxes or ()]}


def asks(description: Description) -> tuple[Asked, ...]:
    """Return what `geovlm predict` asks: the label."""
    first, *others = description.labels
    default = None if others else first
    label = Asked(name="label", summary="what to find", choices=description.labels, default=default)
    return (label,)


def blank(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a target without boxes."""
    return {"boxes": [], "label": said["label"]}


def summary(description: Description) -> str:
    """Return the line that says what is asked."""
    labels = description.labels
    shown = ", ".join(labels[:_SHOWN])
    more = f" and {len(labels) - _SHOWN} other labels" if len(labels) > _SHOWN else ""
    return f"Boxes of every {shown}{more}."


def reasoning(
    found: tuple[boxes.Box, ...], size: tuple[int, int], *, one: str, several: str
) -> str:
    """Return number and places of the objects, up to three of them one by one.

    `one` and `several` are the words after the number: `ship`, `ship objects`.
    """
    count = _COUNTS[len(found)] if len(found) < len(_COUNTS) else str(len(found))
    text = f"{count.capitalize()} {one if len(found) == 1 else several}"
    if not 0 < len(found) <= 3:
        return f"{text}."
    return f"{text}: {', '.join(_place(box, size) for box in found)}."


def _place(box: boxes.Box, size: tuple[int, int]) -> str:
    column = min(2, max(0, int(3 * (box.x0 + box.x1) / 2 / size[0])))
    row = min(2, max(0, int(3 * (box.y0 + box.y1) / 2 / size[1])))
    words = (("upper", "", "lower")[row], ("left", "middle", "right")[column])
    return " ".join(word for word in words if word) if row != 1 or column != 1 else "centre"


def _texts(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
