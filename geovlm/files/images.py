"""Finds files by the names that labels give them, whatever unpacked or converted the copy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".jp2", ".gif")
"""Endings of images, best first."""
_CLUTTER = frozenset({"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin"})


class Listing(NamedTuple):
    """The entries of a folder, from one look into it."""

    names: frozenset[str]
    """Files and folders, but those that operating systems leave behind."""
    only: str | None
    """The only entry, if it is a folder: an archive was unpacked into a folder of its own."""


class Images:
    """Finds image files by the names in the labels; looks into every folder once.

    The file of a name is, in this order: the file itself; the file whose name has other capitals;
    an image with the same name and another suffix. Backslashes in names are slashes. A folder that
    holds nothing but another folder stands for that one. Files of operating systems (`._x.png`,
    `__MACOSX`, `.DS_Store`) are never found.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        """Search in these folders, best first; none of them need exist."""
        self._roots = tuple(roots)
        self._listed: dict[str, Listing] = {}
        self._spelled: dict[str, dict[str, str]] = {}
        self._found: dict[str, Path | None] = {}

    def find(self, name: str) -> Path | None:
        """Return the file of a name, or `None`; the name may begin with the folder of images.

        A name that leaves the folder of images, such as `../a.png`, finds nothing.
        """
        if name not in self._found:
            self._found[name] = self._look(PurePosixPath(name.replace("\\", "/")))
        return self._found[name]

    def names(self) -> list[str]:
        """Return the names of the images directly in the first folder, sorted."""
        folder = self._descend(self._roots[0], ())
        there = self._listing(folder).names if folder is not None else frozenset()
        return sorted(name for name in there if _split(name)[1])

    def _look(self, name: PurePosixPath) -> Path | None:
        parts = name.parts
        if ".." in parts or not name.name:
            return None
        for root in self._roots:
            ways = [] if name.is_absolute() or ":" in parts[0] else [parts]
            if root.name in parts[:-1]:
                ways.append(parts[parts.index(root.name) + 1 :])
            for way in ways:
                folder = self._descend(root, way[:-1])
                spelled = folder is not None and self._spelling(folder, way[-1])
                if folder is not None and spelled:
                    return Path(folder, spelled)
        return None

    def _descend(self, root: Path, parts: Sequence[str]) -> str | None:
        """Return the folder of these parts below a root, or `None`."""
        folder = str(root)
        for part in parts:
            listing = self._listing(folder)
            if part not in listing.names and listing.only is not None:
                folder = _within(folder, listing.only)
                listing = self._listing(folder)
            if part not in listing.names:
                return None
            folder = _within(folder, part)
        only = self._listing(folder).only
        return folder if only is None else _within(folder, only)

    def _spelling(self, folder: str, name: str) -> str | None:
        """Return the name of a file in a folder that a name stands for."""
        if name in self._listing(folder).names:
            return name
        if folder not in self._spelled:
            self._spelled[folder] = _spellings(self._listing(folder).names)
        spelled = self._spelled[folder]
        stem, suffix = _split(name)
        return spelled.get(name.lower()) or spelled.get(stem if suffix else name)

    def _listing(self, folder: str) -> Listing:
        if folder not in self._listed:
            self._listed[folder] = listing(folder)
        return self._listed[folder]


def find(folder: Path, name: str) -> Path:
    """Return the file of a name in a folder, in other capitals if it is not there as written.

    Returns `folder / name` if there is neither.
    """
    path = folder / name
    if path.exists():
        return path
    alike = (each for each in sorted(listing(folder).names) if each.lower() == name.lower())
    return folder / next(alike, name)


def listed(folder: Path, *, ending: str = "") -> list[str]:
    """Return the sorted names in a folder that have an ending, in any capitals.

    Files that operating systems leave behind are left out. A folder that does not exist has none.
    """
    return sorted(name for name in listing(folder).names if name.lower().endswith(ending.lower()))


def listing(folder: Path | str) -> Listing:
    """Return the entries of a folder; none if it does not exist or cannot be read."""
    try:
        with os.scandir(folder) as entries:
            there = [each for each in entries if not is_clutter(each.name)]
            only = there[0].name if len(there) == 1 and there[0].is_dir() else None
    except OSError:
        return Listing(frozenset(), None)
    return Listing(frozenset(each.name for each in there), only)


def only_folder(folder: Path) -> Path | None:
    """Return the folder in a folder if there is exactly one; files do not count.

    So lies a data set whose archive was unpacked into a folder of its own name.
    """
    inner = [each for each in sorted(listing(folder).names) if (folder / each).is_dir()]
    return folder / inner[0] if len(inner) == 1 else None


def is_clutter(name: str) -> bool:
    """Return True for a hidden file and for what operating systems leave behind."""
    return name.startswith(".") or name.lower() in _CLUTTER


def _within(folder: str, name: str) -> str:
    return f"{folder}{os.sep}{name}"  # a sixth of the time of `Path`, and there are many


def _split(name: str) -> tuple[str, str]:
    """Return a name without its ending, and the ending in lower case; "" if it is no image's."""
    stem, dot, end = name.rpartition(".")
    suffix = f".{end.lower()}" if dot else ""
    return (stem, suffix) if suffix in SUFFIXES else (name, "")


def _spellings(names: frozenset[str]) -> dict[str, str]:
    """Return the images of a folder by their name in lower case and by their stem, best first."""
    spelled: dict[str, str] = {}
    images = ((name, *_split(name)) for name in names)
    ranked = sorted((SUFFIXES.index(end), name, stem) for name, stem, end in images if end)
    for _, name, stem in ranked:
        spelled.setdefault(stem, name)
        spelled.setdefault(name.lower(), name)
    return spelled
