"""Gives images that a table holds as bytes a file, which every reader of images needs.

The file lies in the cache, under a digest of its bytes: it is written once, when a row is first
read, and one image of several rows is one file.
"""

from __future__ import annotations

from pathlib import Path

from geovlm.files.caches import keep

_BEGINNINGS = {
    b"\x89PNG": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"RIFF": ".webp",
    b"\0\0\0\x0cjP  ": ".jp2",
}
"""First bytes of an image file -> ending of its name."""


def place(data: bytes) -> tuple[Path, str]:
    """Return file and id of an image: its id is its name in the cache.

    Raises:
        DataError: the user has no home for the cache.
        OSError: the cache cannot be written.
    """
    found = (ending for begins, ending in _BEGINNINGS.items() if data.startswith(begins))
    path = keep(data, folder="images", ending=next(found, ""))
    return path, path.name
