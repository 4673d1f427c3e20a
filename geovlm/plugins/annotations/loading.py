"""Yields the samples of a description, by split."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from geovlm.api import Json, LoadContext, Sample
from geovlm.errors import DatasetNotFoundError
from geovlm.plugins.annotations import kinds, splits
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.readers import READERS
from geovlm.plugins.annotations.records import Record
from geovlm.plugins.annotations.sources import hub


@dataclass(frozen=True, slots=True)
class Loader:
    """The `load` of a data set that a description describes."""

    description: Description

    @property
    def source(self) -> Path:
        """The annotation file or folder.

        Raises:
            DataError: it is a data set of the hub, and not on this machine.
        """
        named = self.description.source
        if hub.is_named(named):
            return hub.locate(named).folder
        return self.description.folder / Path(named).expanduser()

    def __call__(self, ctx: LoadContext) -> Iterator[Sample]:
        """Yield the samples of `ctx.split`; paths start at `ctx.root`.

        Raises:
            DatasetNotFoundError: the source does not exist.
            DataError: it cannot be read.
        """
        own = dataclasses.replace(self.description, folder=ctx.root)
        source = Loader(own).source
        if not source.exists():
            raise DatasetNotFoundError(
                own.name,
                source,
                hint=f"{own.name}.toml names it as 'source', and --data {own.name}=DIR gives the "
                "folder from which its paths start",
            )
        n, loader, placed = 0, Loader(own), splits.Splits(own)
        reader = READERS[own.format]
        if reader.read_split is None:
            found = reader.read(source, own, ctx.skip)
        else:
            found = reader.read_split(source, own, ctx.skip, ctx.split)
        for record in found:
            if placed.of_record(record) != ctx.split:
                continue
            if missing := kinds.lacks(record, own):
                ctx.skip(f"record without {missing}", record.where)
                continue
            if ctx.limit is not None and n >= ctx.limit:
                return
            n += 1
            yield loader.sample(record)

    def sample(self, record: Record) -> Sample:
        """Return a record that lacks nothing as a sample of the description's task."""
        own = self.description
        kind = kinds.of(own)
        target = kind.target(record, own)
        if record.boxes is not None and kind.boxes(record, own):
            # a hundredth of a pixel: what formats that store shares keep
            boxes: Json = [[round(value, 2) for value in each.box] for each in record.boxes]
            target = {**target, "boxes": boxes}
        if record.reasoning and own.reasoning not in ("auto", "none"):
            target = {**target, "reasoning": record.reasoning}
        meta: dict[str, Json] = {"where": record.where}
        if record.scene:
            meta["scene"] = record.scene
        if own.group_by != "image":
            meta["event"] = splits.group(record, own)
        return Sample(
            id=record.id, images=record.images, target=target, question=record.question, meta=meta
        )
