"""Divides the images of a set into splits: none of the sets has an official division.

By hash, the official images of a class are ordered by SHA-256 of `<folder>/<name>`: the first 30 %
are test, the next 10 % val, the rest train. A copy with some of the images has them in the same
splits. An image with another name, and every one of WHU-RS19, goes by the same number modulo 10:
0 to 2 is test, 3 is val.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from geovlm import files
from geovlm.api import LoadContext, Split
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm_scenes.sets import SceneSet, key

_OF_TEN: tuple[Split, ...] = ("test",) * 3 + ("val",) + ("train",) * 6
_TABLES = (".csv", ".txt")
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})


class Picture(NamedTuple):
    """An image on disk."""

    folder: str
    """Folder of its class, as the official release spells it."""
    stem: str
    """Name without ending."""
    path: str

    @property
    def order(self) -> int:
        """Number by which images are ordered, which mixes the classes."""
        return digest(self.folder, self.stem)


class Hashed:
    """Tells the split of an image of a set by its class and name."""

    def __init__(self, scenes: SceneSet) -> None:
        self.scenes = scenes
        self._ranks: dict[str, dict[str, Split]] = {}

    def split(self, folder: str, stem: str) -> Split:
        """Return the split of an image."""
        if self.scenes.regular and folder not in self._ranks:
            self._ranks[folder] = _ranked(folder, self.scenes.official(folder))
        known = self._ranks.get(folder, {}).get(stem)
        return known or _OF_TEN[digest(folder, stem) % 10]


def digest(folder: str, stem: str) -> int:
    """Return the number of an image, 0 to 2^64, by SHA-256."""
    return int.from_bytes(sha256(f"{folder}/{stem}".encode()).digest()[:8])


def official_size(scenes: SceneSet, split: Split) -> int | None:
    """Return the images of a split of the official release by hash; `None` if not known."""
    return sum(_sizes(n)[split] for n in scenes.counts.values()) if scenes.regular else None


def select(pictures: Iterable[Picture], scenes: SceneSet, ctx: LoadContext) -> list[Picture]:
    """Return the pictures of the context's split, in an order that mixes the classes.

    Raises:
        DatasetNotFoundError: the list of the split does not exist.
        DataError: there are several, or it names no image of the copy; names the file.
    """
    chosen: Iterable[Picture]
    if ctx.options.split_by == "none":
        chosen = pictures if ctx.split == "test" else ()
    elif ctx.options.split_by == "lists":
        chosen = _by_list(list(pictures), scenes, ctx)
    else:
        hashed = Hashed(scenes)
        chosen = (each for each in pictures if hashed.split(*each[:2]) == ctx.split)
    return sorted(chosen, key=lambda each: each.order)


def _sizes(n: int) -> dict[Split, int]:
    """Return the sizes of the splits of a class of n images."""
    test, val = n * 3 // 10, n // 10
    return {"test": test, "val": val, "train": n - test - val}


def _ranked(folder: str, stems: list[str]) -> dict[str, Split]:
    order = sorted(stems, key=lambda stem: digest(folder, stem))
    splits = [split for split, size in _sizes(len(order)).items() for _ in range(size)]
    return dict(zip(order, splits, strict=True))


def _by_list(pictures: list[Picture], scenes: SceneSet, ctx: LoadContext) -> list[Picture]:
    path = _list_of(scenes, ctx)
    wanted: dict[tuple[str, str], str] = {}
    for number, row in enumerate(files.csv_rows(path)):
        image = PurePosixPath(row[0].strip().replace("\\", "/"))
        if image.suffix.lower() in _SUFFIXES:
            wanted[key(image.parent.name), image.stem.lower()] = row[0]
        elif number:  # the first line may be a header
            ctx.skip("line of the list that names no image", f"{path.name}: {row[0]}")
    chosen = []
    for each in pictures:
        ways = {(key(each.folder), each.stem.lower()), ("", each.stem.lower())} & wanted.keys()
        if ways:
            chosen.append(each)
            for way in ways:
                del wanted[way]
    if not chosen:
        raise DataError(
            f"{path} names none of the {len(pictures)} images on disk",
            hint="its lines begin with <class>/<file> or <file>",
        )
    for name in wanted.values():
        ctx.skip("image missing", name)
    return chosen


def _list_of(scenes: SceneSet, ctx: LoadContext) -> Path:
    """Return the file that lists a split: its name ends with `train.csv` or `train.txt`."""
    folder = ctx.root / ctx.options.splits
    ends = tuple(f"{ctx.split}{ending}" for ending in _TABLES)
    names = [name for name in files.listed(folder) if name.lower().endswith(ends)]
    hint = f"--set data.{scenes.name}.options.splits=DIR names the folder of the lists"
    if not names:
        raise DatasetNotFoundError(scenes.name, folder / f"{ctx.split}.csv", hint=hint)
    if len(names) > 1:
        raise DataError(f"{folder} holds several lists: {', '.join(names)}", hint=hint)
    return folder / names[0]
