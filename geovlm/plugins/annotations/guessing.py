"""Guesses what a source is for: the task of its records, the roles of its columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from itertools import islice

from geovlm.errors import ConfigError
from geovlm.plugins.annotations.description import TABLES, Description
from geovlm.plugins.annotations.loading import Loader
from geovlm.plugins.annotations.readers import READERS
from geovlm.plugins.annotations.records import BOX, Record, Skipped, unusable
from geovlm.plugins.annotations.tables import columns, objects, reading

LOOKED_AT = 500
"""Records that are looked at."""
_LONG = 8
"""Words of an answer that is a description, and no short answer."""
_USED: dict[str, frozenset[str]] = {
    "question": frozenset({"vqa", "mcq", "caption", "classify", "refer", "ground"}),
    "answer": frozenset({"vqa", "mcq", "caption", "ground"}),
    "label": frozenset({"classify", "detect"}),
    "captions": frozenset({"caption"}),
    "choices": frozenset({"mcq"}),
    "boxes": frozenset({"detect", "refer", "ground"}),
    "phrase": frozenset({"refer"}),
    "type": frozenset({"vqa", "mcq"}),
}
"""Role of a column -> tasks that read it; the others are read for every task."""


def complete(draft: Description, *, task: str = "", group: str = "") -> Description:
    """Return a draft with its task, and with the columns and the reasoning of a table.

    Args:
        draft: a description whose task does not count; its columns are kept.
        task: the task that is wanted; empty: that of most of the first records.
        group: `image` or the column of groups; empty: by its name, else `image`.

    Raises:
        ConfigError: the table lacks a column that is named, or its records are of no task.
        DataError: the source cannot be read, or every record is left out.
    """
    made = dataclasses.replace(draft, group_by=group or "image")
    if draft.format in TABLES:
        source = Loader(draft).source
        names = reading.columns(source, draft.format)
        roles = columns.guess(names) | dict(draft.columns)
        columns.check(roles, names, source=source)
        thought = draft.reasoning
        group = group or columns.unused(names, columns.GROUPS, columns=roles) or "image"
        if thought == "auto":
            thought = columns.unused(names, columns.REASONINGS, columns=roles) or thought
        made = dataclasses.replace(made, columns=roles, group_by=group, reasoning=thought)
        if _of_datasets(made):
            made = dataclasses.replace(made, boxes="xywh")
    task = task or READERS[draft.format].task
    if not task:
        look = dataclasses.replace(made, task="refer")  # which merges no rows, and reads boxes
        source, skipped = Loader(look).source, Skipped()
        records = list(islice(READERS[made.format].read(source, look, skipped), LOOKED_AT))
        if not records and skipped:
            raise unusable(source, skipped)
        task = task_of(records)
        if not task:
            held = f"; there are columns {', '.join(made.columns)}" if made.columns else ""
            raise ConfigError(f"the records fit no task{held}", hint="give it as --task")
    if draft.format not in TABLES:
        return dataclasses.replace(made, task=task)
    roles = dict(made.columns)
    if task == "caption" and roles.keys() & {"captions"}:
        roles.pop("answer", None)
    marked = BOX in made.question
    roles = {
        role: name
        for role, name in roles.items()
        if task in _USED.get(role, {task})
        or (role == "boxes" and (marked or "messages" in roles))
        or (role == "answer" and task in ("refer", "detect") and "boxes" not in roles)
    }
    return dataclasses.replace(made, task=task, columns=roles)


def _of_datasets(own: Description) -> bool:
    """Return True if the first boxes of a table are those of a detection set of the hub."""
    place = own.columns.get("boxes")
    if own.boxes != "xyxy" or not isinstance(place, str):
        return False
    found = reading.rows(Loader(own).source, own.format, lambda reason, item: None)
    first = (row.cells[place] for row in islice(found, LOOKED_AT) if place in row.cells)
    return objects.is_of_datasets(next(first, None))


def task_of(records: Iterable[Record]) -> str:
    """Return the task that most records are for; empty if there is none."""
    votes: dict[str, int] = {}
    for record in records:
        task = _task(record)
        votes[task] = votes.get(task, 0) + 1
    votes.pop("", None)
    return max(votes, key=lambda task: votes[task]) if votes else ""


def _task(record: Record) -> str:
    answer = record.answer or ""
    if record.choices and answer:
        return "mcq"
    if BOX in answer:
        return "ground"
    if record.captions:
        return "caption"
    if record.boxes is not None and record.phrase:
        return "refer"
    if answer:
        return "caption" if len(answer.split()) > _LONG else "vqa"
    if record.boxes is not None:
        return "detect" if all(each.label for each in record.boxes) else ""
    return "classify" if record.label else ""
