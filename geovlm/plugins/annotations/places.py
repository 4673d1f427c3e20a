"""Finds the files that annotations name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from geovlm.plugins.annotations.description import Description

IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".jp2"})


def image_path(name: str, *, description: Description, source: Path) -> Path | None:
    """Return the file of an image, or `None` if it does not exist.

    `name` may be absolute or relative to the folder of images, and may have backslashes; a path of
    another machine is found by its file name.
    """
    folder = image_folder(description, source)
    parts = PurePosixPath(name.replace("\\", "/"))
    for candidate in (folder / parts, folder / parts.name):
        if candidate.is_file():
            return candidate
    return None


class Finder:
    """Finds the images of one source, each name once; as `image_path`."""

    def __init__(self, description: Description, source: Path) -> None:
        self._description = description
        self._source = source
        self._found: dict[str, tuple[Path, str] | None] = {}

    def find(self, name: str) -> tuple[Path, str] | None:
        """Return file and id of an image, or `None` if it does not exist."""
        if name not in self._found:
            own, source = self._description, self._source
            path = image_path(name, description=own, source=source)
            self._found[name] = (
                None if path is None else (path, identity(path, description=own, source=source))
            )
        return self._found[name]


def image_folder(description: Description, source: Path) -> Path:
    """Return the folder of the images: the description's, else that of the source."""
    folder = source if source.is_dir() else source.parent
    return description.folder / description.images if description.images else folder


def identity(image: Path, *, description: Description, source: Path) -> str:
    """Return the id of an image, the same for every format: its path in the folder of images."""
    folder = image_folder(description, source)
    return image.relative_to(folder).as_posix() if image.is_relative_to(folder) else image.name


def images_in(folder: Path) -> Iterator[Path]:
    """Yield the images below a folder, sorted by path; hidden files are left out."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith("."):
            yield path
