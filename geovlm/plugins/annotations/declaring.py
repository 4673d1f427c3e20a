"""Declares a description as a plugin: one data set and its task, by the hooks of a package."""

from __future__ import annotations

from collections.abc import Iterable

from geovlm import hookimpl
from geovlm.api import DatasetSpec, TaskSpec
from geovlm.plugins.annotations import kinds
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.loading import Loader

UNKNOWN = "not stated by its owner"
"""Licence, homepage or citation that a description leaves out."""


class Declared:
    """A plugin made of one TOML file."""

    def __init__(self, description: Description) -> None:
        self.description = description

    @hookimpl
    def geovlm_datasets(self) -> Iterable[DatasetSpec]:
        """Declare the data set."""
        own = self.description
        yield DatasetSpec(
            name=own.name,
            summary=own.summary or f"{own.format} annotations in {own.source}.",
            splits=("train", "val", "test"),
            load=Loader(own),
            root=own.folder,
            folders=(own.name,),
            licence=own.licence or UNKNOWN,
            homepage=own.homepage or UNKNOWN,
            citation=own.citation or UNKNOWN,
        )

    @hookimpl
    def geovlm_tasks(self) -> Iterable[TaskSpec]:
        """Declare the task."""
        own = self.description
        kind = kinds.of(own)
        yield TaskSpec(
            name=own.name,
            summary=kind.summary(own),
            dataset=own.name,
            samples=kind.samples(own) if kind.samples else None,
            prompt=kind.prompt(own),
            reasoning="think" if kinds.thinks(own) else "none",
            asks=kind.asks(own),
            blank=kind.blank(own),
            rewards=kind.rewards,
            metrics=kind.metrics,
            primary_metric=kind.primary_metric,
            max_answer_tokens=kind.max_answer_tokens,
            tags=frozenset({kind.tag}),
        )
