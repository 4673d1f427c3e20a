"""Yields the samples of a description, by split."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from geovlm.api import Json, LoadContext, Sample, Split
from geovlm.errors import ConfigError, DatasetNotFoundError
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
        n, loader = 0, Loader(own)
        reader = READERS[own.format]
        if reader.read_split is None:
            found = reader.read(source, own, ctx.skip)
        else:
            found = reader.read_split(source, own, ctx.skip, ctx.split)
        for record in found:
            if loader.split(record) != ctx.split:
                continue
            if missing := kinds.lacks(record, own):
                ctx.skip(f"record without {missing}", record.where)
                continue
            if ctx.limit is not None and n >= ctx.limit:
                return
            n += 1
            yield loader.sample(record)

    def split(self, record: Record) -> Split:
        """Return the split of a record: that of the source if `given`, else by its group."""
        own = self.description
        group = "" if own.split == "given" else _group(record, own)
        return splits.of(own, given=record.split, group=group)

    def sample(self, record: Record) -> Sample:
        """Return a record that lacks nothing as a sample of the description's task."""
        own = self.description
        kind = kinds.of(own)
        target = kind.target(record, own)
        if record.boxes is not None and kind.boxes(record, own):
            # a hundredth of a pixel: what formats that store shares keep
            target["boxes"] = [[round(value, 2) for value in each.box] for each in record.boxes]
        if record.reasoning and own.reasoning not in ("auto", "none"):
            target["reasoning"] = record.reasoning
        meta: dict[str, Json] = {"where": record.where}
        if record.scene:
            meta["scene"] = record.scene
        if own.group_by != "image":
            meta["event"] = _group(record, own)
        return Sample(
            id=record.id, images=record.images, target=target, question=record.question, meta=meta
        )


def _group(record: Record, own: Description) -> str:
    """Return the group of a record: its image or scene, else the value that is grouped by.

    Raises:
        ConfigError: the record has no such value.
    """
    if own.group_by == "image" or (own.group_by == "scene" and record.scene):
        return record.group
    if own.group_by not in record.extra:
        known = ", ".join(["image", *record.extra])
        raise ConfigError(
            f"{record.where} has no {own.group_by!r} to group by", hint=f"it has {known}"
        )
    return str(record.extra[own.group_by])
