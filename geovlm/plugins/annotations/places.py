"""Finds the files that annotations name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from geovlm.plugins.annotations.description import Description

IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".jp2"})


def image_path(name: str, *, description: Description, source: Path) -> Path | None:
    """Return the file of an image, or `None` if it does not exist.

    `name` may be absolute or relative to the folder of images, and may have backslashes; a path of
    another machine is found by its file name.
    """
    found = Finder(description, source).find(name)
    return found and found[0]


class Finder:
    """Finds the images of one source by their names, as `image_path`, each once."""

    def __init__(self, description: Description, source: Path) -> None:
        self._folder = str(image_folder(description, source))
        self._found: dict[str, tuple[Path, str] | None] = {}

    def find(self, name: str) -> tuple[Path, str] | None:
        """Return file and id of an image, or `None` if it does not exist."""
        if name not in self._found:
            self._found[name] = self._look(name.replace("\\", "/"))
        return self._found[name]

    def _look(self, name: str) -> tuple[Path, str] | None:
        for each in (name, name.rpartition("/")[2]):
            path = Path(self._folder, each)
            if path.is_file():
                return path, _below(path, self._folder)
        return None


def image_folder(description: Description, source: Path) -> Path:
    """Return the folder of the images: the description's, else that of the source."""
    folder = source if source.is_dir() else source.parent
    return description.folder / description.images if description.images else folder


def identity(image: Path, *, description: Description, source: Path) -> str:
    """Return the id of an image, the same for every format: its path in the folder of images."""
    return _below(image, str(image_folder(description, source)))


def _below(image: Path, folder: str) -> str:
    """Return the path of an image relative to a folder; with `..` if it lies elsewhere."""
    text = image.as_posix()
    if text.startswith(f"{folder}/"):
        return text[len(folder) + 1 :]
    return Path(os.path.relpath(text, folder)).as_posix()


def images_in(folder: Path) -> Iterator[Path]:
    """Yield the images below a folder, sorted by path; hidden files are left out."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith("."):
            yield path
