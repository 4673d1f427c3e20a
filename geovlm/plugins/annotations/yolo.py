"""Reads a YOLO data set: `data.yaml`, or a folder with `images` and `labels`.

Layout: `data.yaml` names the classes (`names`, a list or a table by number) and the folders or
lists of images of `train`, `val` and `test`, relative to `path`. The labels of
`…/images/NAME.jpg` are the lines of `…/labels/NAME.txt`: class, then centre x, centre y, width and
height as shares of the image, or the corners of a polygon. An empty or missing file means that no
object is there.

Source: docs.ultralytics.com, object detection datasets overview.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from geovlm.api import Split
from geovlm.errors import DataError
from geovlm.files import text
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.places import identity, images_in
from geovlm.plugins.annotations.records import Labelled, Record, Skip, part_inside
from geovlm.raster import image_size

SPLITS: dict[str, Split] = {"train": "train", "val": "val", "valid": "val", "test": "test"}


def recognises(source: Path) -> bool:
    """True for a `.yaml` file, or a folder that holds `data.yaml`."""
    return source.suffix.lower() in (".yaml", ".yml") or (source / "data.yaml").is_file()


def read(source: Path, description: Description, skip: Skip) -> Iterator[Record]:
    """Yield a record per image, split by split, in the order of the file names.

    Raises:
        DataError: the file is not a `data.yaml`; names file and key.
    """
    table = _table(source)
    names = _names(table, source)
    root = _root(table, source)
    seen: set[Path] = set()
    for key, split in SPLITS.items():
        for image in _images(table.get(key), root=root, source=source):
            if image in seen:
                skip("image of a split before", str(image))
                continue
            seen.add(image)
            label = _label_file(image)
            name = identity(image, description=description, source=source)
            yield Record(
                id=name,
                images=(image,),
                where=str(label),
                group=name,
                split=split,
                boxes=tuple(_objects(label, image, names, skip)),
            )


def _table(source: Path) -> Mapping[str, Any]:
    import yaml

    file = source / "data.yaml" if source.is_dir() else source
    try:
        table = yaml.safe_load(text.read_text(file))
    except yaml.YAMLError as error:
        raise DataError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(table, Mapping):
        raise DataError(f"{file} holds no table", hint="it must name classes and folders of images")
    return table


def _names(table: Mapping[str, Any], source: Path) -> dict[int, str]:
    names = table.get("names")
    found = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(found, Mapping) or not found:
        raise DataError(f"{source} has no names of classes", hint="add 'names: [a, b]' there")
    return {int(number): " ".join(str(name).split()) for number, name in found.items()}


def _root(table: Mapping[str, Any], source: Path) -> Path:
    folder = source if source.is_dir() else source.parent
    own = Path(str(table.get("path") or "."))
    for root in (own if own.is_absolute() else folder / own, folder):
        if root.is_dir():
            return root
    return folder


def _images(value: Any, *, root: Path, source: Path) -> Iterator[Path]:
    """Yield the images that a key of `data.yaml` names: folders, or lists of files."""
    for each in value if isinstance(value, list) else [value] if value else []:
        place = root / str(each)
        if not place.exists() and str(each).startswith("../"):
            place = root / str(each)[3:]  # as Roboflow writes it
        if place.is_dir():
            yield from images_in(place)
        elif place.is_file():
            for line in text.read_text(place).splitlines():
                if line.strip():
                    yield (place.parent / line.strip()).resolve()
        else:
            raise DataError(f"{source} names {each}, and {place} does not exist")


def _label_file(image: Path) -> Path:
    """Return the label file of an image: the last folder `images` of its path is `labels`."""
    parts = list(image.parts)
    for at in range(len(parts) - 2, -1, -1):
        if parts[at] == "images":
            parts[at] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def _objects(file: Path, image: Path, names: Mapping[int, str], skip: Skip) -> Iterator[Labelled]:
    if not (file.is_file() and file.stat().st_size):
        return
    lines = text.read_text(file).splitlines()
    width, height = image_size(image)
    for number, line in enumerate(lines, 1):
        where = f"{file}:{number}"
        numbers = _numbers(line)
        if not line.strip():
            continue
        if numbers is None or (len(numbers) != 5 and (len(numbers) < 7 or len(numbers) % 2 == 0)):
            skip("line that is neither a box nor a polygon", where)
        elif int(numbers[0]) not in names:
            skip("number of a class that has no name", where)
        else:
            x0, y0, x1, y1 = _corners(numbers[1:])
            box = (x0 * width, y0 * height, x1 * width, y1 * height)
            if not (x0 < x1 and y0 < y1):
                skip("box without area", where)
            elif part := part_inside(box, (width, height), where=where, skip=skip):
                yield Labelled(part, names[int(numbers[0])])


def _numbers(line: str) -> list[float] | None:
    try:
        numbers = [float(word) for word in line.split()]
    except ValueError:
        return None
    return numbers if numbers and all(map(math.isfinite, numbers)) else None


def _corners(numbers: list[float]) -> tuple[float, float, float, float]:
    if len(numbers) == 4:
        x, y, width, height = numbers
        return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    xs, ys = numbers[0::2], numbers[1::2]
    return (min(xs), min(ys), max(xs), max(ys))
