"""Finds images, and reads a JSON array that is too large to be held in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from geovlm.errors import DataError, DatasetNotFoundError

OFFICIAL_IMAGES = "share/softwares/kartik/GeoChat_finetuning/final_images_llava"
"""Folder to which images.zip unpacks."""

_CHUNK = 1 << 22
_LONGEST_RECORD = 1 << 24
_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".PNG", ".JPG", ".JPEG", ".TIF")


class Images:
    """Finds image files by the names in the records; lists every folder once.

    If the file of a name is missing, the other suffixes are tried: the release has `.tif` names for
    files that are `.png`, and `.jpg` for `.jpeg`.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(roots)
        self._listed: dict[Path, frozenset[str]] = {}
        self._found: dict[str, Path | None] = {}

    def find(self, name: str) -> Path | None:
        """Return the file, or `None`; a name that leaves the folder of images finds nothing."""
        if name not in self._found:
            self._found[name] = self._look(PurePosixPath(name.replace("\\", "/")))
        return self._found[name]

    def _look(self, name: PurePosixPath) -> Path | None:
        if name.is_absolute() or ".." in name.parts or not name.name:
            return None
        spellings = [name.name, *(name.stem + suffix for suffix in _SUFFIXES)]
        for root in self._roots:
            folder = root.joinpath(*name.parts[:-1])
            names = self._names(folder)
            for spelling in spellings:
                if spelling in names:
                    return folder / spelling
        return None

    def _names(self, folder: Path) -> frozenset[str]:
        if folder not in self._listed:
            there = folder.iterdir() if folder.is_dir() else ()
            self._listed[folder] = frozenset(path.name for path in there)
        return self._listed[folder]


def image_roots(root: Path, *, images: str) -> list[Path]:
    """Return the folders in which images are searched, best first.

    Args:
        root: folder of the data set.
        images: the option, relative to `root` or absolute. "": the folders of the release.

    Raises:
        DatasetNotFoundError: the option does not name a folder.
    """
    if images:
        named = root / images
        if not named.is_dir():
            raise DatasetNotFoundError(
                "geochat", named, hint="option `images` must name the folder of the images"
            )
        return [named]
    return [root / OFFICIAL_IMAGES, root / "final_images_llava", root / "images", root]


def stream(path: Path) -> Iterator[Any]:
    """Yield the elements of a JSON array one after another, holding only a few MB of the file.

    Raises:
        DataError: the file is not a JSON array of objects.
    """
    decoder = json.JSONDecoder()
    with path.open(encoding="utf-8-sig") as file:
        buffer = file.read(_CHUNK).lstrip()
        if not buffer.startswith("["):
            raise DataError(
                f"{path} is not a JSON array", hint="download GeoChat_Instruct.json again"
            )
        at, count, ended = 1, 0, False
        while True:
            while at < len(buffer) and buffer[at] in " \t\r\n,":
                at += 1
            if at < len(buffer) and buffer[at] == "]":
                return
            try:
                value, at = decoder.raw_decode(buffer, at)
            except json.JSONDecodeError as error:
                if ended or len(buffer) - at > _LONGEST_RECORD:
                    raise DataError(
                        f"{path}: record {count} is not JSON: {error.msg}",
                        hint="the file may be cut off: download it again",
                    ) from error
                more = file.read(_CHUNK)
                ended = not more
                buffer, at = buffer[at:] + more, 0
                continue
            count += 1
            yield value


def lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (line number from 0, value) of a JSON-lines file.

    Raises:
        DataError: a line is not JSON.
    """
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{path}: line {number + 1} is not JSON: {error.msg}",
                    hint="the file may be cut off: download it again",
                ) from error
