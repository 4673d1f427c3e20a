"""Compares the splits of a run before it starts, and chooses what training leaves out."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from geovlm.api import Split, TaskSpec
from geovlm.data import leaks
from geovlm.data.leaks import LeftOut, Part
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm.plan.data import Reader


def parts(
    reader: Reader, tasks: Sequence[TaskSpec], *, held_out: Sequence[Split] = ()
) -> tuple[list[Part], list[Part]]:
    """Return the tasks' training splits and their held-out splits.

    A data set that does not exist is left out: `Reader.plan` refuses it. Held out is by default
    the split on which the run evaluates each task.

    Raises:
        DatasetNotFoundError: of the first data set, if this leaves no split to compare.
    """
    config = reader.config
    found: dict[tuple[str, Split], Part] = {}
    missing: list[DatasetNotFoundError] = []
    for task in tasks:
        spec = reader.registry.dataset(task.dataset)
        wanted: list[Split] = ["train", *(held_out or [config.eval_split(task.name)])]
        there = [split for split in dict.fromkeys(wanted) if split in spec.splits]
        for split in there:
            try:
                root = reader.root(spec).folder
                records = reader.load(spec, root=root, split=split, soon=there).records
            except DatasetNotFoundError as error:
                missing.append(error)
                continue
            found[spec.name, split] = Part(dataset=spec.name, split=split, records=records)
    train = [part for part in found.values() if part.split == "train"]
    others = [part for part in found.values() if part.split != "train"]
    if missing and not (train and others):
        raise missing[0]
    return train, others


def left_out(reader: Reader, tasks: Sequence[TaskSpec]) -> LeftOut:
    """Return the data that the run's training leaves out; reads every image of its splits.

    Raises:
        DataError: an image cannot be read, or the cache cannot be used.
    """
    train, held_out = parts(reader, tasks)
    print("comparing the images of training and evaluation", file=sys.stderr, flush=True)
    found = leaks.find(train, held_out, progress=lambda items, *, label, total: items)
    if found.unreadable.count:
        raise DataError(
            f"an image cannot be compared: {found.unreadable.first[0]}",
            hint="'geovlm data check' names them all",
        )
    return leaks.left_out(found, events=reader.config.deduplicate == "events")
