"""Holds the table of tasks that a description can ask: questions, rewards and metrics of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from geovlm.api import Asked, Json, PromptContext, Sample, Turn
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.records import Record
from geovlm.plugins.annotations.tasks import (
    answering,
    asking,
    describing,
    detecting,
    grounding,
    labelling,
)


class Kind(NamedTuple):
    """A task over records of one kind."""

    question: str
    """The question where the description has none; `{label}` is the label asked for."""
    lacks: Callable[[Record, Description], str]
    """Returns what a record lacks for the task, such as `boxes`; empty if nothing."""
    target: Callable[[Record, Description], Mapping[str, Json]]
    """Returns the target of a record that lacks nothing, but for its boxes and its reasoning."""
    prompt: Callable[[Description], Callable[[Sample, PromptContext], Turn]]
    """Makes `TaskSpec.prompt` of a description."""
    rewards: Mapping[str, Mapping[str, float]]
    metrics: tuple[str, ...]
    primary_metric: str
    tag: str
    summary: Callable[[Description], str]
    """Returns the line that says what is asked."""
    blank: Callable[[Description], Callable[[Mapping[str, Json]], Mapping[str, Json]]]
    """Makes `TaskSpec.blank` of a description."""
    labels: Callable[[Record], Iterable[str]]
    """Returns the labels or the answer of a record, which `geovlm data add` counts."""
    counted: str
    """Name of what is counted."""
    asks: Callable[[Description], tuple[Asked, ...]] = lambda own: ()
    """Returns `TaskSpec.asks` of a description."""
    samples: Callable[[Description], Callable[[Sample], Iterable[Sample]]] | None = None
    """Makes `TaskSpec.samples` of a description. `None`: the record is the sample."""
    boxes: Callable[[Record, Description], bool] = lambda record, own: True
    """True if the target holds the boxes of a record."""
    derives: bool = False
    """True if the reasoning is derived from boxes where the row has none."""
    max_answer_tokens: int = 256


KINDS: Mapping[str, Kind] = {
    "detect": Kind(
        question=detecting.QUESTION,
        lacks=detecting.lacks,
        target=detecting.target,
        samples=detecting.Splitter,
        prompt=detecting.Asker,
        asks=detecting.asks,
        blank=lambda own: detecting.blank,
        labels=lambda record: (each.label for each in record.boxes or ()),
        counted="objects",
        rewards={"paper": {"detection": 1.0}, "robust": {"matched_iou": 1.0}},
        metrics=("detection", "coco", "format"),
        primary_metric="mean_iou",
        tag="detection",
        summary=detecting.summary,
        derives=True,
        max_answer_tokens=1024,
    ),
    "refer": Kind(
        question=grounding.REFER,
        lacks=grounding.lacks,
        target=grounding.target,
        prompt=grounding.Asker,
        asks=lambda own: (Asked(name="phrase", summary="such as 'the white ship'"),),
        blank=grounding.Blank,
        labels=lambda record: (),
        counted="phrases",
        rewards={"paper": {"detection": 1.0}, "robust": {"matched_iou": 1.0}},
        metrics=("detection", "format"),
        primary_metric="mean_iou",
        tag="detection",
        summary=grounding.summary,
        derives=True,
    ),
    "ground": Kind(
        question=grounding.GROUND,
        lacks=grounding.lacks,
        target=grounding.target,
        prompt=grounding.Asker,
        blank=grounding.Blank,
        labels=lambda record: (),
        counted="texts",
        rewards={"paper": {"lmgr": 1.0}, "robust": {"grounded_f1": 1.0}},
        metrics=("grounding", "detection", "format"),
        primary_metric="grounded_f1",
        tag="caption",
        summary=grounding.summary,
        derives=True,
        max_answer_tokens=512,
    ),
    "vqa": Kind(
        question=asking.QUESTION,
        lacks=answering.lacks,
        target=answering.target,
        prompt=answering.Asker,
        asks=lambda own: asking.asks(own, question=True),
        blank=answering.Blank,
        labels=lambda record: (record.answer or "",),
        counted="answers",
        rewards={"paper": {"jaccard": 1.0}, "robust": {"exact": 1.0}},
        metrics=("accuracy", "format"),
        primary_metric="accuracy",
        tag="vqa",
        summary=answering.summary,
        boxes=asking.marked,
    ),
    "classify": Kind(
        question=answering.CLASSIFY,
        lacks=answering.lacks,
        target=answering.target,
        prompt=answering.Asker,
        asks=lambda own: asking.asks(own, question=False),
        blank=answering.Blank,
        labels=lambda record: (record.label or "",),
        counted="labels",
        rewards={"paper": {"recall": 1.0}, "robust": {"exact": 1.0}},
        metrics=("accuracy", "format"),
        primary_metric="accuracy",
        tag="classification",
        summary=answering.summary,
        boxes=asking.marked,
    ),
    "caption": Kind(
        question=describing.QUESTION,
        lacks=describing.lacks,
        target=describing.target,
        prompt=describing.Asker,
        asks=lambda own: asking.asks(own, question=False),
        blank=describing.Blank,
        labels=lambda record: (),
        counted="captions",
        rewards={"paper": {"levenshtein": 1.0}, "robust": {"caption_f1": 1.0}},
        metrics=("caption", "format"),
        primary_metric="caption_f1",
        tag="caption",
        summary=describing.summary,
        boxes=asking.marked,
    ),
    "mcq": Kind(
        question=asking.QUESTION,
        lacks=answering.lacks,
        target=answering.target,
        prompt=answering.Asker,
        asks=lambda own: (
            *asking.asks(own, question=True),
            Asked(name="choices", summary="the choices, with | between them"),
        ),
        blank=answering.Blank,
        labels=answering.letter,
        counted="right letters",
        rewards={"paper": {"jaccard": 1.0}, "robust": {"exact": 1.0}},
        metrics=("accuracy", "format"),
        primary_metric="accuracy",
        tag="vqa",
        summary=answering.summary,
        boxes=asking.marked,
    ),
}
"""Task -> what is asked, as `Description.task` has it."""
_ALL = KINDS["detect"]._replace(
    question=labelling.QUESTION,
    samples=labelling.Chooser,
    prompt=labelling.Asker,
    asks=lambda own: (),
    blank=labelling.Blank,
    # the paper has no reward of labelled boxes; `detection` would pay boxes of any label
    rewards={"paper": {"labelled_iou": 1.0}, "robust": {"labelled_iou": 1.0}},
    metrics=("coco", "detection", "format"),
    primary_metric="labelled_iou",
    summary=labelling.summary,
)


def of(own: Description) -> Kind:
    """Return what a description asks."""
    return _ALL if own.ask == "all" else KINDS[own.task]


def lacks(record: Record, own: Description) -> str:
    """Return what a record lacks for the task of a description; empty if nothing."""
    if own.reasoning not in ("auto", "none") and not record.reasoning:
        return "a reasoning"
    return of(own).lacks(record, own)


def thinks(own: Description) -> bool:
    """True if the answers of a description have a reasoning before them."""
    derived = own.reasoning == "auto" and of(own).derives
    return derived or own.reasoning not in ("auto", "none")
