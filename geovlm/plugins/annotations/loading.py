"""Yields the samples of a description, by split."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from geovlm.api import Json, LoadContext, Sample, Split
from geovlm.errors import DatasetNotFoundError
from geovlm.plugins.annotations import kinds, splits
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.readers import READERS
from geovlm.plugins.annotations.records import Record, Skip
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
        return (sample for _, sample in self.by_split({ctx.split: ctx}))

    def by_split(self, wanted: Mapping[Split, LoadContext]) -> Iterator[tuple[Split, Sample]]:
        """Yield the samples of several splits, which are read at once; errors as `__call__`.

        What is left out before its split is known is left out of each of them.
        """
        root = next(iter(wanted.values())).root
        own = dataclasses.replace(self.description, folder=root)
        source = Loader(own).source
        if not source.exists():
            raise DatasetNotFoundError(
                own.name,
                source,
                hint=f"{own.name}.toml names it as 'source', and --data {own.name}=DIR gives the "
                "folder from which its paths start",
            )
        loader, placed = Loader(own), splits.Splits(own)
        left = {split: ctx.limit for split, ctx in wanted.items()}
        for record in _records(source, own, {split: ctx.skip for split, ctx in wanted.items()}):
            split = placed.of_record(record)
            if split not in wanted:
                continue
            if missing := kinds.lacks(record, own):
                wanted[split].skip(f"record without {missing}", record.where)
                continue
            limit = left[split]
            if limit is not None:
                if limit <= 0:
                    if all(each is not None and each <= 0 for each in left.values()):
                        return
                    continue
                left[split] = limit - 1
            yield split, loader.sample(record)

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


def _records(source: Path, own: Description, skips: Mapping[Split, Skip]) -> Iterator[Record]:
    """Yield the records of a source; those of other splits may be left out."""

    def skip(reason: str, item: str) -> None:
        for each in skips.values():
            each(reason, item)

    reader = READERS[own.format]
    if reader.read_splits is not None:
        return reader.read_splits(source, own, skip, skips)
    return reader.read(source, own, skip)
