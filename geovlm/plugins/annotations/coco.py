"""Reads the boxes of a COCO file (`instances_*.json`).

Layout: an object with `images` (id, file_name, width, height), `annotations` (image_id,
category_id, bbox as x, y, width, height in pixels of the image, y down) and `categories` (id,
name). Ids may begin at 0 or at 1 and need not be in order. Crowds (`iscrowd` 1) are left out, as by
COCO's own evaluation of single objects. An annotation without `bbox` has that of its polygons; a
mask in RLE alone is left out, and so is a rotated box. HIT-UAV names the list `annotation` and the
file `filename`; both are read too.

Source: cocodataset.org, format of data.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from geovlm.errors import DataError
from geovlm.files import records as files
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.places import identity, image_path
from geovlm.plugins.annotations.records import Labelled, Record, Skip


def recognises(source: Path) -> bool:
    """True if a file is COCO."""
    is_json = source.is_file() and source.suffix.lower() == ".json"
    return is_json and _is_coco(files.read_json(source))


def _is_coco(table: Any) -> bool:
    return (
        isinstance(table, Mapping)
        and isinstance(table.get("images"), list)
        and isinstance(_annotations(table), list)
    )


def read(source: Path, description: Description, skip: Skip) -> Iterator[Record]:
    """Yield a record per image, sorted by file name.

    Raises:
        DataError: the file is not COCO; names file and key.
    """
    table = files.read_json(source)
    if not _is_coco(table):
        raise DataError(
            f"{source} is not COCO: it has no lists 'images' and 'annotations'",
            hint="is another format meant? give it as --format",
        )
    names = _names(table, source)
    objects = _objects(table, source, names, skip)
    seen: dict[str, str] = {}
    for number, image in _sorted(table["images"]):
        where = f"{source.name} image {number}"
        file = _file(image)
        if not file:
            skip("image without file_name", where)
            continue
        path = image_path(file, description=description, source=source)
        if path is None:
            skip("image file missing", f"{where}: {file}")
            continue
        name = identity(path, description=description, source=source)
        if name in seen:
            skip("image file listed twice", f"{where}: {file}, as {seen[name]}")
            continue
        seen[name] = where
        yield Record(
            id=name,
            images=(path,),
            where=where,
            group=name,
            boxes=tuple(objects.get(image.get("id"), ())),
        )


def _sorted(images: Any) -> list[tuple[int, Any]]:
    """Return number and entry of each image; entries without a name come first."""
    return sorted(enumerate(images), key=lambda pair: _file(pair[1]))


def _annotations(table: Mapping[str, Any]) -> Any:
    return table.get("annotations", table.get("annotation"))


def _file(image: Any) -> str:
    """Return the file name of an image; empty if it has none."""
    if not isinstance(image, Mapping):
        return ""
    name = image.get("file_name", image.get("filename"))
    return name.strip() if isinstance(name, str) else ""


def _names(table: Mapping[str, Any], source: Path) -> dict[Any, str]:
    names: dict[Any, str] = {}
    for number, category in enumerate(table.get("categories", ())):
        name = category.get("name") if isinstance(category, Mapping) else None
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"{source}: category {number} has no name", hint="add it there")
        names[category.get("id")] = " ".join(name.split())
    if not names:
        raise DataError(f"{source} has no categories", hint="boxes without labels have no question")
    return names


def _objects(
    table: Mapping[str, Any], source: Path, names: Mapping[Any, str], skip: Skip
) -> dict[Any, list[Labelled]]:
    """Return image id -> objects, in the order of the file."""
    found: dict[Any, list[Labelled]] = defaultdict(list)
    images = {image.get("id") for image in table["images"] if isinstance(image, Mapping)}
    for number, each in enumerate(_annotations(table)):
        where = f"{source.name} annotation {number}"
        if not isinstance(each, Mapping) or each.get("image_id") not in images:
            skip("annotation of an image that is not listed", where)
        elif each.get("category_id") not in names:
            skip("annotation of a category that is not listed", where)
        elif each.get("iscrowd"):
            skip("crowd", where)
        elif len(_numbers(each.get("bbox")) or ()) == 5:
            skip("rotated box of five numbers", where)
        elif (box := _box(each)) is None:
            skip("annotation without a box", where)
        else:
            found[each["image_id"]].append(Labelled(box, names[each["category_id"]]))
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
