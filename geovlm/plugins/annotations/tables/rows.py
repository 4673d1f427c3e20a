"""Makes records of the rows of a table, by the roles of its columns."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from geovlm import raster
from geovlm.api import Json, Size, Split
from geovlm.errors import ConfigError, DataError
from geovlm.plugins.annotations import splits
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.places import Finder
from geovlm.plugins.annotations.records import Labelled, Record, Skip, identifier, part_inside
from geovlm.plugins.annotations.tables import (
    cells,
    columns,
    conversations,
    embedded,
    merging,
    objects,
    reading,
)
from geovlm.plugins.annotations.tables.conversations import Exchange
from geovlm.plugins.annotations.tables.objects import Objects
from geovlm.plugins.annotations.tables.reading import Row

_NOTHING: Mapping[str, Json] = MappingProxyType({})
_MERGED = frozenset({"caption", "detect"})
"""Tasks of which several rows that follow one another may describe one image."""
_BOXED = frozenset({"refer", "detect"})
"""Tasks of which an answer that is a box and nothing else is read as one."""


def read(
    source: Path,
    description: Description,
    skip: Skip,
    wanted: Mapping[Split, Skip] | None = None,
) -> Iterator[Record]:
    """Yield a record per row, or per exchange of a conversation.

    Rows of one image and one question that follow one another are one record where the task asks
    for captions or for all boxes of an image. Rows of other splits than those `wanted` are passed
    over before their annotation is read, unless rows that become one may be of several splits; what
    is left out of an annotation is told to the `skip` of its split.

    Raises:
        ConfigError: the table lacks a column that the description names, or has none of images.
        DataError: the table cannot be read; names file and line.
    """
    reader = _Reader(source, description, skip)
    if description.task not in _MERGED:
        yield from reader.records(wanted)
        return
    by_image = description.split != "given" and description.group_by == "image"
    yield from merging.merged(reader.records(wanted if by_image else None))


class _Reader:
    """Reads the rows of one table."""

    def __init__(self, source: Path, description: Description, skip: Skip) -> None:
        names = reading.columns(source, description.format)
        self.source = source
        self.own = description
        self.skip = skip
        self.columns = description.columns or columns.guess(names)
        columns.check(self.columns, names, source=source)
        if not self.columns.keys() & {"image", "messages"}:
            raise ConfigError(
                f"{source} has no column of images",
                hint=f"name it as columns.image; there are {', '.join(names)}",
            )
        if description.split == "given" and "split" not in self.columns:
            raise ConfigError(
                f"{source} has no column of splits",
                hint="give shares, such as 80/10/10, or name it as columns.split",
            )
        self.group = "" if description.group_by == "image" else description.group_by
        own = ("auto", "none", "tags")
        self.reasoning = "" if description.reasoning in own else description.reasoning
        for name in filter(None, (self.group, self.reasoning)):
            columns.require(name, names, source=source)
        place = self.columns.get("image")
        self.image = place if isinstance(place, str) else ""
        self.texts = [
            (role, name)
            for role, name in self.columns.items()
            if role in ("question", "answer", "label", "phrase", "type") and isinstance(name, str)
        ]
        self.finder = Finder(description, source)
        self.splits = splits.Splits(description)

    def records(self, wanted: Mapping[Split, Skip] | None = None) -> Iterator[Record]:
        """Yield the records of all rows, or of those of the splits that are wanted."""
        skip = self.skip
        has_messages, has_ids = "messages" in self.columns, "id" in self.columns
        for row in reading.rows(self.source, self.own.format, self.skip):
            images = self._images(row)
            if not images or (split := self._split(row)) == "":
                continue
            first, last = images[0][1], images[-1][1]
            extra = self._extra(row) if self.group else _NOTHING
            if wanted is not None:
                group = str(extra[self.group]) if self.group else first
                own_skip = wanted.get(self.splits.of(split, group))
                if own_skip is None:
                    continue
                self.skip = own_skip
            paths = tuple([path for path, _ in images])
            own = cells.text(self._cell(row, "id")) if has_ids else ""
            many = list(self._exchanges(row, paths)) if has_messages else [self._fields(row, paths)]
            for number, fields in enumerate(many):
                name = f"{own}/{number}" if own and len(many) > 1 else own
                yield Record(
                    id=name or identifier(last, _asked(fields)),
                    images=paths,
                    where=row.where,
                    group=first,
                    split=split or None,
                    extra=extra,
                    **fields,
                )
            self.skip = skip

    def _cell(self, row: Row, role: str) -> Any:
        """Return the value of a role; of several columns the list of those that the row has."""
        place = self.columns.get(role)
        if place is None or isinstance(place, str):
            return row.cells.get(place) if place else None
        return [row.cells[name] for name in place if name in row.cells]

    def _images(self, row: Row) -> list[tuple[Path, str]]:
        """Return files and ids of the images of a row; empty if one is missing."""
        value = row.cells.get(self.image) if self.image else self._cell(row, "image")
        if type(value) is str:  # nearly all rows
            found_one = self.finder.find(value.strip())
            if found_one is not None:
                return [found_one]
        if value is None and "messages" in self.columns:
            value = conversations.images(self._cell(row, "messages"))
        names = [value] if isinstance(value, str) else cells.flat(value)
        found = []
        for each in names:
            path = each.get("path") if isinstance(each, dict) else each
            data = each.get("bytes") if isinstance(each, dict) else each
            if isinstance(data, bytes):
                found.append(embedded.place(data))
                continue
            if isinstance(each, dict) and data is not None:
                self.skip("image in the table itself as a text", row.where)
                return []
            place = self.finder.find(path.strip()) if isinstance(path, str) else None
            if place is None:
                self.skip("image file missing", f"{row.where}: {path!s:.200}")
                return []
            found.append(place)
        if not found:
            self.skip("row without an image", row.where)
        return found

    def _split(self, row: Row) -> Split | Literal[""] | None:
        """Return the split of a row, `None` if it has none; "" if its name is not known."""
        if "split" not in self.columns:
            return None
        name = cells.text(self._cell(row, "split"))
        split = cells.SPLITS.get(name.lower())
        if split is None and self.own.split == "given":
            self.skip("split that is neither train, val nor test", f"{row.where}: {name[:80]}")
            return ""
        return split

    def _extra(self, row: Row) -> dict[str, Json]:
        return {self.group: cells.text(row.cells.get(self.group))}

    def _fields(self, row: Row, images: tuple[Path, ...]) -> dict[str, Any]:
        """Return the annotation of a row, as fields of a record."""
        found: dict[str, Any] = {
            role: text for role, name in self.texts if (text := cells.text(row.cells.get(name)))
        }
        if isinstance(self.columns.get("question"), tuple):
            found["question"] = "\n".join(map(cells.text, self._cell(row, "question")))
        if "<image>" in found.get("question", ""):
            found["question"] = conversations.bare(found["question"])
        reasoning, found["answer"] = conversations.thought(found.get("answer", ""))
        found["answer"] = found["answer"] or None
        found["reasoning"] = self._reasoning(row) or reasoning
        for role in ("captions", "choices"):
            if role in self.columns:
                found[role] = cells.texts(self._cell(row, role) or ())
        if "boxes" in self.columns:
            held = objects.read(self._cell(row, "boxes"))
            if held is not None:
                labels = held.labels or cells.texts(self._cell(row, "label") or ())
                self._place(found, held._replace(labels=labels), row, images)
        elif self.own.task in _BOXED:
            self._read_answer(found, self._cell(row, "answer"), row, images)
        return found

    def _read_answer(
        self, found: dict[str, Any], value: Any, row: Row, images: tuple[Path, ...]
    ) -> None:
        """Put the boxes of an answer that is nothing else into the fields, in its place."""
        held = objects.whole(value)
        if held is None:
            return
        labels = held.labels if all(held.labels) else ()
        found["answer"] = None
        self._place(found, held._replace(labels=labels), row, images)
        if not labels and not found.get("phrase"):
            found["phrase"] = found.get("question", "")

    def _place(
        self, found: dict[str, Any], held: Objects, row: Row, images: tuple[Path, ...]
    ) -> None:
        """Put boxes and their labels, one for each or one for all, into the fields."""
        labels = held.labels * len(held.boxes) if len(held.labels) == 1 else held.labels
        if labels and len(labels) != len(held.boxes):
            self.skip("row with other numbers of labels than of boxes", row.where)
        else:
            found["boxes"] = self._boxes(held.boxes, labels, held.form, row, images)

    def _exchanges(self, row: Row, images: tuple[Path, ...]) -> Iterator[dict[str, Any]]:
        """Yield the annotation of each exchange of a row, as fields of a record."""
        held = objects.read(self._cell(row, "boxes")) if "boxes" in self.columns else None
        try:
            found = list(conversations.exchanges(self._cell(row, "messages"), held))
        except conversations.Unread as reason:
            self.skip(str(reason), row.where)
            return
        if not found:
            self.skip("conversation without a question and its answer", row.where)
        for each in found:
            question, answer = each.question, each.answer
            if question.boxes and answer.boxes:
                self.skip("boxes in both question and answer", row.where)
                continue
            fields: dict[str, Any] = {
                "question": question.text,
                "answer": None if answer.bare else answer.text or None,
                "reasoning": self._reasoning(row) or each.reasoning,
            }
            boxes = question.boxes or answer.boxes
            if boxes:
                labels = answer.phrases if answer.bare and any(answer.phrases) else ()
                form = held.form if held else ""
                placed = self._boxes(boxes, labels, form, row, images)
                if len(placed) != len(boxes):
                    continue
                fields["boxes"] = placed
                if answer.bare and not labels:
                    fields["phrase"] = _phrase(each)
            elif self.own.task in _BOXED and fields["answer"]:
                self._read_answer(fields, fields["answer"], row, images)
            yield fields

    def _boxes(
        self,
        boxes: tuple[tuple[float, ...] | None, ...],
        labels: tuple[str, ...],
        form: str,
        row: Row,
        images: tuple[Path, ...],
    ) -> tuple[Labelled, ...]:
        """Return boxes in pixels of the last image; those without area are left out."""
        form = form or self.own.boxes
        size = _size(images[-1]) if boxes else (0, 0)
        found = []
        for number, box in enumerate(boxes):
            placed, where = objects.corners(box, form, size), f"{row.where} box {number}"
            if placed is None:
                self.skip("box without four numbers or without area", where)
            elif part := part_inside(placed, size, where=where, skip=self.skip):
                found.append(Labelled(part, labels[number] if labels else ""))
        return tuple(found)

    def _reasoning(self, row: Row) -> str:
        return cells.text(row.cells.get(self.reasoning)) if self.reasoning else ""


@lru_cache(maxsize=1024)
def _size(image: Path) -> Size:
    try:
        return raster.image_size(image)
    except DataError:
        return (sys.maxsize, sys.maxsize)  # 'geovlm data check' names what cannot be read


def _phrase(exchange: Exchange) -> str:
    """Return what the boxes of an answer show: the phrases of the question, else the question."""
    return " and ".join(exchange.question.phrases) or exchange.question.text


def _asked(fields: dict[str, Any]) -> list[str]:
    return [fields.get("question", ""), fields.get("phrase", ""), *fields.get("choices", ())]
