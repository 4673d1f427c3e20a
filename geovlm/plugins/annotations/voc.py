"""Reads Pascal VOC: one XML file per image, in a folder or in `Annotations`.

Layout: `annotation` holds `filename` and, per `object`, `name`, `difficult` and `bndbox` with
`xmin`, `ymin`, `xmax`, `ymax`: pixels, counted from 1 and inclusive in the original release, from 0
by most tools since. Here they are the edges of the box as they stand. Lists in `ImageSets/Main`
give the split. Objects marked `difficult` are left out, as by the challenge's own evaluation.

Source: host.robots.ox.ac.uk/pascal/VOC, VOC2012 development kit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from geovlm.api import Split
from geovlm.errors import DataError
from geovlm.files import text
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.places import identity, image_path
from geovlm.plugins.annotations.records import Labelled, Record, Skip, part_inside

_SETS: dict[str, Split] = {"train": "train", "val": "val", "test": "test"}


def recognises(source: Path) -> bool:
    """True for a folder of XML files, or one that holds `Annotations`.

    Raises:
        DataError: one XML file is given.
    """
    if source.suffix.lower() == ".xml" and source.is_file():
        raise DataError(f"{source} is one XML file", hint=f"give its folder: {source.parent}")
    return source.is_dir() and any(_folder(source).glob("*.xml"))


def _folder(source: Path) -> Path:
    """Return the folder of the XML files."""
    return source / "Annotations" if (source / "Annotations").is_dir() else source


def read(source: Path, description: Description, skip: Skip) -> Iterator[Record]:
    """Yield a record per XML file, in the order of the file names.

    Raises:
        DataError: the folder holds no XML file.
    """
    folder = _folder(source)
    files = sorted(folder.glob("*.xml"))
    if not files:
        raise DataError(f"{folder} holds no XML file", hint="Pascal VOC has one per image")
    splits = _splits(source / "ImageSets" / "Main")
    for file in files:
        try:
            root = ElementTree.fromstring(text.read_bytes(file))
        except ElementTree.ParseError as error:
            skip("file is not XML", f"{file}: {error}")
            continue
        name = (root.findtext("filename") or "").strip()
        path = _image(name, file, description=description, source=source)
        if path is None:
            skip("image file missing", f"{file}: {name or file.stem}")
            continue
        identifier = identity(path, description=description, source=source)
        yield Record(
            id=identifier,
            images=(path,),
            where=str(file),
            group=identifier,
            split=splits.get(file.stem),
            boxes=tuple(_objects(root, file, skip)),
        )


def _image(name: str, file: Path, *, description: Description, source: Path) -> Path | None:
    """Return the image of an XML file: by its `filename`, else by the name of the file."""
    names = [name] if name else []
    names += [f"{file.stem}{ending}" for ending in (".jpg", ".jpeg", ".png", ".tif")]
    for each in names:
        for place in (each, f"JPEGImages/{each}", f"../JPEGImages/{each}", f"../images/{each}"):
            found = image_path(place, description=description, source=source)
            if found is not None:
                return found
    return None


def _splits(folder: Path) -> dict[str, Split]:
    found: dict[str, Split] = {}
    for name, split in _SETS.items():
        file = folder / f"{name}.txt"
        if file.is_file():
            words = (line.split() for line in text.read_text(file).splitlines())
            found |= {each[0]: split for each in words if each}
    return found


def _size(root: ElementTree.Element) -> tuple[float, float]:
    """Return width and height as declared; infinite where they are not."""
    declared = [(root.findtext(f"size/{key}") or "").strip() for key in ("width", "height")]
    width, height = (float(each) if each.isdigit() and int(each) else math.inf for each in declared)
    return width, height


def _objects(root: ElementTree.Element, file: Path, skip: Skip) -> Iterator[Labelled]:
    size = _size(root)
    for number, each in enumerate(root.iter("object")):
        where = f"{file} object {number}"
        name = " ".join((each.findtext("name") or "").split())
        corners = [each.findtext(f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax")]
        try:
            x0, y0, x1, y1 = (float(value or "nan") for value in corners)
        except ValueError:
            x0 = y0 = x1 = y1 = math.nan
        if not name:
            skip("object without a name", where)
        elif (each.findtext("difficult") or "0").strip() == "1":
            skip("object marked difficult", where)
        elif not (x0 < x1 and y0 < y1):
            skip("object without a box", where)
        elif part := part_inside((x0, y0, x1, y1), size, where=where, skip=skip):
            yield Labelled(part, name)
