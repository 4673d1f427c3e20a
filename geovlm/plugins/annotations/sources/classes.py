"""Reads one folder per class: the name of the folder that holds an image is its label.

Layout: `CLASS/NAME.jpg`, or `train/CLASS/NAME.jpg` with `val` (or `valid`, `validation`) and `test`
beside it, as `ImageFolder` of torchvision and the `imagefolder` of `datasets` read them. A folder
that holds nothing but another folder stands for that one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from geovlm.api import Split
from geovlm.files.images import is_clutter, only_folder
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.annotations.places import IMAGE_ENDINGS, identity
from geovlm.plugins.annotations.records import Record, Skip

SPLITS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""Name of a folder, in lower case -> split of the images below it."""


def recognises(source: Path) -> bool:
    """True for a folder with at least two folders of images, or such folders in those of splits."""
    if not source.is_dir():
        return False
    root = _root(source)
    folders = list(_folders(root))
    if any(folder.name.lower() in SPLITS for folder in folders):
        folders = [each for folder in folders for each in _folders(folder)]
    return len({each.name for each in folders if next(_images(each), None) is not None}) > 1


def read(source: Path, description: Description, skip: Skip) -> Iterator[Record]:
    """Yield a record per image, class by class, in the order of the names."""
    root = _root(source)
    for path in _images(root):
        skip("image that is in no folder of a class", str(path))
    for folder in _folders(root):
        split = SPLITS.get(folder.name.lower())
        for path in _images(folder) if split else ():
            skip("image that is in no folder of a class", str(path))
        for label in _folders(folder) if split else (folder,):
            for path in _images(label):
                yield _record(path, label.name, split, description, source)
            for deeper in _folders(label):
                skip("folder in the folder of a class", str(deeper))


def _record(
    path: Path, label: str, split: Split | None, description: Description, source: Path
) -> Record:
    name = identity(path, description=description, source=source)
    return Record(
        id=name,
        images=(path,),
        where=str(path),
        group=name,
        split=split,
        label=" ".join(label.split()),
    )


def _root(source: Path) -> Path:
    """Return the folder that holds the classes or splits."""
    while next(_images(source), None) is None and (inner := only_folder(source)) is not None:
        source = inner
    return source


def _folders(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not (path.name.startswith(".") or is_clutter(path.name)):
            yield path


def _images(folder: Path) -> Iterator[Path]:
    """Yield the images directly in a folder."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_ENDINGS and not is_clutter(path.name):
            yield path
