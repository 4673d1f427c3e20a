"""Declares a description as a plugin: one data set and its task, by the hooks of a package."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from geovlm import hookimpl
from geovlm.api import DatasetSpec, TaskSpec
from geovlm.errors import DataError
from geovlm.plugins.annotations.asking import Asker, Splitter
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.loading import Loader

_UNKNOWN = "not stated"
_SHOWN = 4
"""Labels that the summary names."""


class Declared:
    """A plugin made of one TOML file."""

    def __init__(self, description: Description) -> None:
        self.description = description

    def make_sample(self, root: Path, n: int, seed: int) -> None:
        """Refuse to generate data: only the user's own exist.

        Raises:
            DataError: always.
        """
        name = self.description.name
        raise DataError(
            f"data set {name!r} has no generated data",
            hint=f"they are described in {self.description.folder}; see 'geovlm data check {name}'",
        )

    @hookimpl
    def geovlm_datasets(self) -> Iterable[DatasetSpec]:
        """Declare the data set."""
        own = self.description
        yield DatasetSpec(
            name=own.name,
            summary=own.summary or f"{own.format} annotations in {own.source}.",
            splits=("train", "val", "test"),
            load=Loader(own),
            make_sample=self.make_sample,
            root=own.folder,
            folders=(own.name,),
            licence=own.licence or _UNKNOWN,
            homepage=own.homepage or _UNKNOWN,
            citation=own.citation or _UNKNOWN,
        )

    @hookimpl
    def geovlm_tasks(self) -> Iterable[TaskSpec]:
        """Declare the task."""
        own = self.description
        yield TaskSpec(
            name=own.name,
            summary=f"Boxes of every {_listed(own.labels)}.",
            dataset=own.name,
            samples=Splitter(own),
            prompt=Asker(own),
            rewards={"paper": {"detection": 1.0}, "robust": {"matched_iou": 1.0}},
            metrics=("detection", "format"),
            primary_metric="mean_iou",
            max_answer_tokens=1024,
            tags=frozenset({"detection"}),
        )


def _listed(labels: Sequence[str]) -> str:
    shown = ", ".join(labels[:_SHOWN])
    return shown if len(labels) <= _SHOWN else f"{shown} and {len(labels) - _SHOWN} other labels"
