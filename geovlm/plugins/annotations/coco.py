"""Reads the boxes or the captions of a COCO file (`instances_*.json`, `captions_*.json`).

Layout: an object with `images` (id, file_name, width, height), `annotations` (image_id,
category_id, bbox as x, y, width, height in pixels of the image, y down) and `categories` (id,
name). Ids may begin at 0 or at 1 and need not be in order. Crowds (`iscrowd` 1) are left out, as by
COCO's own evaluation of single objects, and so are boxes outside of their image. An annotation
without `bbox` has that of its polygons; a mask in RLE alone is left out, and so is a rotated box.
HIT-UAV names the list `annotation` and the file `filename`; both are read too. Captions
(`captions_*.json`) are read from the key `caption`.

Source: cocodataset.org, format of data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from geovlm.errors import DataError
from geovlm.files import streams
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.places import Finder
from geovlm.plugins.annotations.records import Labelled, Record, Skip, part_inside

_LISTS = {"annotation": "annotations"}
"""Other names of lists."""


def recognises(source: Path) -> bool:
    """True if a file is COCO: a JSON object with the lists `images` and `annotations`."""
    if not (source.is_file() and source.suffix.lower() == ".json"):
        return False
    missing = {"images", "annotations"}
    try:
        for key, value in streams.json_members(source):
            if isinstance(value, Iterator):
                missing.discard(_LISTS.get(key, key))
            if not missing:
                return True
    except DataError:
        return False
    return False


def read(source: Path, description: Description, skip: Skip) -> Iterator[Record]:
    """Yield a record per image, sorted by file name.

    Of the file only boxes, captions and names are kept in memory.

    Raises:
        DataError: the file is not COCO; names file and key.
    """
    table = _table(source)
    objects = _objects(table, source, skip)
    finder = Finder(description, source)
    seen: dict[str, str] = {}
    for number, image in sorted(enumerate(table.images), key=lambda pair: pair[1].file):
        where = f"{source.name} image {number}"
        if not image.file:
            skip("image without file_name", where)
            continue
        found = finder.find(image.file)
        if found is None:
            skip("image file missing", f"{where}: {image.file}")
            continue
        path, name = found
        if name in seen:
            skip("image file listed twice", f"{where}: {image.file}, as {seen[name]}")
            continue
        seen[name] = where
        boxes, captions = objects.get(image.id, ([], []))
        yield Record(
            id=name,
            images=(path,),
            where=where,
            group=name,
            boxes=tuple(boxes) if table.names else None,
            captions=tuple(captions),
        )


class _Image(NamedTuple):
    """An entry of `images`."""

    id: Any
    file: str
    """Empty: it has none."""
    size: tuple[float, float]
    """Width and height as declared; infinite where they are not."""


class _Object(NamedTuple):
    """An entry of `annotations`."""

    image: Any
    category: Any
    box: tuple[float, float, float, float] | None
    caption: str
    fault: str
    """Reason for which it is left out; empty if it is not."""


class _Table(NamedTuple):
    """A file without what is not read of it."""

    images: list[_Image]
    objects: list[_Object]
    names: dict[Any, str]
    """Category -> its name."""


def _table(source: Path) -> _Table:
    made = _Table([], [], {})
    lists = set()
    for key, value in streams.json_members(source):
        name = _LISTS.get(key, key)
        if not isinstance(value, Iterator):
            continue
        lists.add(name)
        if name == "images":
            made.images.extend(map(_image, value))
        elif name == "annotations":
            made.objects.extend(map(_object, value))
        elif name == "categories":
            made.names.update(_names(value, source))
    if not {"images", "annotations"} <= lists:
        raise DataError(
            f"{source} is not COCO: it has no lists 'images' and 'annotations'",
            hint="is another format meant? give it as --format",
        )
    if not made.names and not any(each.caption for each in made.objects):
        raise DataError(f"{source} has no categories", hint="boxes without labels have no question")
    return made


def _image(entry: Any) -> _Image:
    if not isinstance(entry, Mapping):
        return _Image(None, "", (math.inf, math.inf))
    name = entry.get("file_name", entry.get("filename"))
    size = _numbers([entry.get("width"), entry.get("height")])
    return _Image(
        entry.get("id"),
        name.strip() if isinstance(name, str) else "",
        (size[0], size[1]) if size and min(size) > 0 else (math.inf, math.inf),
    )


def _object(entry: Any) -> _Object:
    if not isinstance(entry, Mapping):
        return _Object(None, None, None, "", "annotation that is no object")
    fault = ""
    if entry.get("iscrowd"):
        fault = "crowd"
    elif len(_numbers(entry.get("bbox")) or ()) == 5:
        fault = "rotated box of five numbers"
    caption = entry.get("caption")
    return _Object(
        entry.get("image_id"),
        entry.get("category_id"),
        None if fault else _box(entry),
        caption.strip() if isinstance(caption, str) else "",
        fault,
    )


def _names(categories: Iterator[Any], source: Path) -> Iterator[tuple[Any, str]]:
    for number, category in enumerate(categories):
        name = category.get("name") if isinstance(category, Mapping) else None
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"{source}: category {number} has no name", hint="add it there")
        yield category.get("id"), " ".join(name.split())


def _objects(
    table: _Table, source: Path, skip: Skip
) -> dict[Any, tuple[list[Labelled], list[str]]]:
    """Return image id -> objects and captions, in the order of the file."""
    found: dict[Any, tuple[list[Labelled], list[str]]] = {}
    sizes = {image.id: image.size for image in table.images}
    for number, each in enumerate(table.objects):
        where = f"{source.name} annotation {number}"
        if each.image not in sizes:
            skip("annotation of an image that is not listed", where)
            continue
        boxes, captions = found.setdefault(each.image, ([], []))
        if each.caption:
            captions.append(each.caption)
        elif each.fault:
            skip(each.fault, where)
        elif each.category not in table.names:
            skip("annotation of a category that is not listed", where)
        elif each.box is None:
            skip("annotation without a box", where)
        elif part := part_inside(each.box, sizes[each.image], where=where, skip=skip):
            boxes.append(Labelled(part, table.names[each.category]))
    return found


def _box(annotation: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """Return the corners of a box, or of what encloses its polygons; `None` if there is none."""
    numbers = _numbers(annotation.get("bbox"))
    if numbers is not None and len(numbers) == 4:
        x, y, width, height = numbers
        return (x, y, x + width, y + height) if width > 0 and height > 0 else None
    polygons = annotation.get("segmentation")
    rings = [_numbers(ring) for ring in polygons] if isinstance(polygons, list) else []
    points = [value for ring in rings if ring is not None for value in ring[: len(ring) // 2 * 2]]
    if not points:
        return None
    xs, ys = points[0::2], points[1::2]
    box = (min(xs), min(ys), max(xs), max(ys))
    return box if box[0] < box[2] and box[1] < box[3] else None


def _numbers(value: Any) -> list[float] | None:
    if not isinstance(value, list) or not value:
        return None
    if not all(isinstance(each, int | float) and not isinstance(each, bool) for each in value):
        return None
    numbers = [float(each) for each in value]
    return numbers if all(map(math.isfinite, numbers)) else None
