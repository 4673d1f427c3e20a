"""Reads the JSON export of Label Studio: rectangles, choices and texts of each task.

Layout: a list of tasks; each has `data`, with the address of its image, and `annotations` (once
`completions`), each with a list `result`. A region of `rectanglelabels` has `x`, `y`, `width` and
`height` in percent of the image, and `rotation` in degrees; of a polygon, the box around it is
taken. `choices` give the label of the image, `textarea` its caption and answer. Of several
annotations of one task, that marked as ground truth counts, else the newest; cancelled ones never
do. The key `columns` names the control (`from_name`) of `label` and of `answer`, where there are
several, and the field of `data` that holds `image` and `question`.

Source: labelstud.io, guides to the task format and the rectangle; how addresses are resolved:
label-studio-sdk 97fcff1, label_studio_tools/core/utils/io.py.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from geovlm.api import Json
from geovlm.errors import DataError
from geovlm.files import streams
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.places import IMAGE_ENDINGS, identity, image_path
from geovlm.plugins.annotations.records import Labelled, Record, Skip
from geovlm.raster import image_size

_UPLOAD = re.compile(r"^[0-9a-f]{8}-")
"""Beginning that Label Studio puts before the name of an uploaded file."""
_ADDRESSES = ("d", "filepath", "fileuri")
"""Parameters of a query that hold the address of a file."""
_CORNERS = ("x", "y", "width", "height")
_BOXES = frozenset({"rectanglelabels", "polygonlabels", "labels"})
"""Types of regions that have a label and a box; `labels` beside a plain `rectangle`."""
_WITHOUT = frozenset({"rectangle", "polygon"})
"""Types whose label is in another result of the same id."""


def recognises(source: Path) -> bool:
    """True for a JSON list whose first element is a task of Label Studio."""
    if not source.is_file() or source.suffix.lower() != ".json":
        return False
    try:
        first = next(iter(streams.json_array(source)), None)
    except DataError:
        return False
    return isinstance(first, Mapping) and "data" in first and _annotations(first) is not None


def read(source: Path, description: Description, skip: Skip) -> Iterator[Record]:
    """Yield a record per task with an annotation, in the order of the file.

    Records have boxes, if any task has a region.

    Raises:
        DataError: the file is not a list of tasks.
    """
    seen: set[str] = set()
    has_regions = any(map(_has_region, streams.json_array(source)))
    for number, task in enumerate(streams.json_array(source)):
        where = f"{source.name} task {number}"
        data = task.get("data") if isinstance(task, Mapping) else None
        if not isinstance(data, Mapping):
            raise DataError(
                f"{where} has no 'data', so it is no export of Label Studio",
                hint="export as JSON; JSON-MIN leaves the tasks out",
            )
        results = _results(task, where, skip)
        path = _image(data, description, source)
        if results is None:
            skip("task without annotation", where)
            continue
        if path is None:
            skip("image file missing", f"{where}: {_address(data, description)}")
            continue
        name = identity(path, description=description, source=source)
        if name in seen:
            skip("image of a task before", f"{where}: {name}")
            continue
        seen.add(name)
        texts = _values(results, "textarea", "text", description.column("answer"))
        labels = _values(results, "choices", "choices", description.column("label"))
        if len(labels) > 1:
            skip("image with several choices", where)
        yield Record(
            id=name,
            images=(path,),
            where=where,
            group=name,
            boxes=tuple(_objects(results, path, where, skip)) if has_regions else None,
            label=labels[0] if len(labels) == 1 else None,
            question=_text(data.get(description.column("question", "question"))),
            answer=texts[0] if texts else None,
            captions=tuple(texts),
            extra=_extra(data),
        )


def _has_region(task: Any) -> bool:
    """Return True if an annotation of a task marks a part of the image."""
    annotations = _annotations(task) if isinstance(task, Mapping) else None
    listed = annotations if isinstance(annotations, list) else []
    results = [each.get("result") for each in listed if isinstance(each, Mapping)]
    return any(_is_region(one) for some in results if isinstance(some, list) for one in some)


def _is_region(result: Any) -> bool:
    value = result.get("value") if isinstance(result, Mapping) else None
    if not isinstance(value, Mapping):
        return False
    is_mask = str(result.get("type")).startswith("brush")
    return is_mask or "x" in value or "points" in value


def _annotations(task: Mapping[str, Any]) -> Any:
    return task.get("annotations", task.get("completions"))


def _results(task: Mapping[str, Any], where: str, skip: Skip) -> list[Mapping[str, Any]] | None:
    """Return the results of the annotation that counts; `None` if there is none."""
    listed = _annotations(task)
    found = [
        each
        for each in (listed if isinstance(listed, list) else [])
        if isinstance(each, Mapping) and not (each.get("was_cancelled") or each.get("skipped"))
    ]
    if not found:
        return None
    for _ in found[1:]:
        skip("further annotation of a task", where)
    best = max(found, key=lambda each: (bool(each.get("ground_truth")), _time(each)))
    results = best.get("result")
    return [each for each in results or () if isinstance(each, Mapping)]


def _time(annotation: Mapping[str, Any]) -> str:
    return str(annotation.get("updated_at") or annotation.get("created_at") or "")


def _address(data: Mapping[str, Any], description: Description) -> str:
    """Return the address of the image: in the named field, in `image`, or the first that is one."""
    name = description.column("image", "image")
    if isinstance(data.get(name), str):
        return str(data[name])
    texts = (value for value in data.values() if isinstance(value, str))
    fitting = (each for each in texts if _paths(each)[0].suffix.lower() in IMAGE_ENDINGS)
    return next(fitting, "")


def _image(data: Mapping[str, Any], description: Description, source: Path) -> Path | None:
    address = _address(data, description)
    if not address:
        return None
    for path in _paths(address):
        parts = path.parts[1:] if path.is_absolute() else path.parts
        for start in range(len(parts)):
            place = "/".join(parts[start:])
            found = image_path(place, description=description, source=source)
            if found is not None:
                return found
    return None


def _paths(address: str) -> Sequence[PurePosixPath]:
    """Return the paths that an address may mean, the likeliest first."""
    split = urlsplit(address.replace("\\", "/"))
    path = f"{split.netloc}{split.path}" if split.scheme else split.path
    query = dict(part.partition("=")[::2] for part in split.query.split("&"))
    for key in _ADDRESSES:
        if key in query:
            path = _decoded(query[key]) if key == "fileuri" else query[key]
    plain = PurePosixPath(unquote(path))
    own = plain.with_name(_UPLOAD.sub("", plain.name)) if plain.name else plain
    return list(dict.fromkeys([plain, PurePosixPath(path), own]))


def _decoded(uri: str) -> str:
    """Return the address in the base64 of a signed link, without its scheme."""
    try:
        text = base64.urlsafe_b64decode(uri).decode()
    except (binascii.Error, UnicodeDecodeError):
        return uri
    return text.partition("://")[2] or text


def _objects(
    results: Sequence[Mapping[str, Any]], path: Path, where: str, skip: Skip
) -> Iterator[Labelled]:
    """Yield the boxes of a task in pixels of its image."""
    labelled = {each.get("id") for each in results if _label(each)}
    width, height = 0, 0
    for each in results:
        kind = str(each.get("type", ""))
        if kind in ("choices", "textarea") or not _is_region(each):
            continue
        value = each["value"]
        if kind in _WITHOUT and each.get("id") in labelled:
            continue
        if kind not in _BOXES | _WITHOUT:
            skip(f"region of the type {kind}", where)
        elif value.get("rotation") or each.get("rotation") or each.get("image_rotation"):
            skip("rotated region", where)
        elif not (label := _label(each)):
            skip("region without a label", where)
        elif (box := _percent(value)) is None:
            skip("region without area", where)
        else:
            if not width:
                width, height = image_size(path)
            x0, y0, x1, y1 = box
            yield Labelled(
                (x0 * width / 100, y0 * height / 100, x1 * width / 100, y1 * height / 100), label
            )


def _label(result: Mapping[str, Any]) -> str:
    """Return the first label of a region; empty if it has none."""
    value = result.get("value")
    names = value.get(result.get("type")) if isinstance(value, Mapping) else None
    return _text(names[0]) if isinstance(names, list) and names else ""


def _percent(value: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """Return the corners of a region in percent of the image; `None` if it has no area."""
    points = value.get("points")
    try:
        if points:
            xs, ys = ([float(point[axis]) for point in points] for axis in (0, 1))
            box = (min(xs), min(ys), max(xs), max(ys))
        else:
            x, y, width, height = (float(value[key]) for key in _CORNERS)
            box = (x, y, x + width, y + height)
    except (KeyError, TypeError, ValueError, IndexError):
        return None
    return box if box[0] < box[2] and box[1] < box[3] else None


def _values(results: Sequence[Mapping[str, Any]], kind: str, key: str, name: str) -> list[str]:
    """Return the texts of a control: of the named one, else of the first of its type."""
    found: list[str] = []
    for each in results:
        value = each.get("value")
        if each.get("type") != kind or not isinstance(value, Mapping) or "x" in value:
            continue  # of another type, or about a region
        name = name or str(each.get("from_name"))
        if each.get("from_name") == name:
            listed = value.get(key)
            texts = listed if isinstance(listed, list) else [listed]
            found += [text for text in map(_text, texts) if text]
    return found


def _text(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""


def _extra(data: Mapping[str, Any]) -> dict[str, Json]:
    return {key: value for key, value in data.items() if isinstance(value, str | int | float)}
