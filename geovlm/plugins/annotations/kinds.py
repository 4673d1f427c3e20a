"""Holds the table of tasks that a description can ask: questions, rewards and metrics of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from geovlm.api import PromptContext, Sample, Turn
from geovlm.plugins.annotations import detecting
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.records import Record


class Kind(NamedTuple):
    """A task over records of one kind."""

    question: str
    """The question where the description has none; `{label}` is the label asked for."""
    lacks: Callable[[Record, Description], str]
    """Returns what a record lacks for the task, such as `boxes`; empty if nothing."""
    samples: Callable[[Description], Callable[[Sample], Iterable[Sample]]]
    """Makes `TaskSpec.samples` of a description."""
    prompt: Callable[[Description], Callable[[Sample, PromptContext], Turn]]
    """Makes `TaskSpec.prompt` of a description."""
    rewards: Mapping[str, Mapping[str, float]]
    metrics: tuple[str, ...]
    primary_metric: str
    tag: str
    summary: Callable[[Description], str]
    """Returns the line that says what is asked."""
    max_answer_tokens: int = 256


KINDS: Mapping[str, Kind] = {
    "detect": Kind(
        question=detecting.QUESTION,
        lacks=detecting.lacks,
        samples=detecting.Splitter,
        prompt=detecting.Asker,
        rewards={"paper": {"detection": 1.0}, "robust": {"matched_iou": 1.0}},
        metrics=("detection", "format"),
        primary_metric="mean_iou",
        tag="detection",
        summary=detecting.summary,
        max_answer_tokens=1024,
    ),
}
"""Task -> what is asked, as `Description.task` has it."""
