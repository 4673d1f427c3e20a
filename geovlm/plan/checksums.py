"""Checksums of data and models, which do not depend on where the files lie.

A resumed run compares them with those of its start: the files may have moved, their contents may
not have changed. All records of a split are hashed, and of `CHECKED` of them also the images: the
length, beginning and end of their files. Of a model, small files are hashed whole, and of weights
the length and `_BLOCKS` blocks: training changes every layer.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geovlm.api import Raster, Sample
from geovlm.data import imagefiles
from geovlm.errors import DataError
from geovlm.files.caches import cache_dir

CHECKED = 64
"""Number of records per split, spread over it, that are also hashed one by one."""
_LINES_AT_ONCE = 1024
_ENCODER = json.JSONEncoder(sort_keys=True, default=list)
_SMALL = 64 * 1024 * 1024
_BLOCKS, _BLOCK_BYTES = 64, 65_536
_OF_MODEL = ("*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", "*.py")


def of_split(records: Sequence[Sample], *, root: Path) -> dict[str, Any]:
    """Return the number of records and a hash of their ids, questions, targets and image names.

    `checked` holds, by id, the hashes of some records and of their image files by name. Names are
    relative to `root` or to the cache. A raster counts by its bands, not by its paths: building the
    paths of half a million patches would take longer than all the rest.

    An image that cannot be read has no hash; it is reported where it is opened.
    """
    digest = hashlib.sha256()
    targets: dict[int, str] = {}  # by identity: data sets share the targets of equal labels
    prefixes = _prefixes(root)
    lines: list[str] = []
    for record in records:
        lines.append(_line(record, targets, prefixes=prefixes))
        if len(lines) == _LINES_AT_ONCE:
            digest.update("\x1e".join([*lines, ""]).encode(errors="surrogatepass"))
            lines.clear()
    digest.update("\x1e".join([*lines, ""]).encode(errors="surrogatepass"))
    checked = {}
    for record in spread(records, CHECKED):
        line = _line(record, targets, prefixes=prefixes).encode(errors="surrogatepass")
        files = [path for image in record.images for path in imagefiles.files(image)]
        checked[record.id] = {
            "record": hashlib.blake2b(line, digest_size=8).hexdigest(),
            "images": {_name(path, prefixes): _of_image(path) for path in files},
        }
    return {"records": len(records), "sha256": digest.hexdigest(), "checked": checked}


def _line(record: Sample, targets: dict[int, str], *, prefixes: Sequence[str]) -> str:
    target = targets.get(id(record.target))
    if target is None:
        made = _ENCODER.encode(dict(record.target))
        target = hashlib.sha256(made.encode(errors="surrogatepass")).hexdigest()
        targets[id(record.target)] = target
    parts = [record.id, record.question, target]
    for image in record.images:
        if isinstance(image, Raster):
            parts += image.bands
            parts += map(str, image.window or ())
        else:
            parts.append(_name(image, prefixes))
    return "\x1f".join(parts)


def _prefixes(root: Path) -> Sequence[str]:
    """Return the beginnings that names leave out; without a home there is no cache."""
    with contextlib.suppress(DataError):
        return (f"{root}{os.sep}", f"{cache_dir()}{os.sep}")
    return (f"{root}{os.sep}",)


def _name(path: Path, prefixes: Sequence[str]) -> str:
    """Return a path relative to the folder of the data, or to the cache."""
    name = str(path)
    return name[max(len(each) if name.startswith(each) else 0 for each in prefixes) :]


def _of_image(path: Path) -> str | None:
    try:
        return imagefiles.digest([path])
    except DataError:
        return None


def of_model(folder: Path) -> dict[str, str]:
    """Return the hash of each file of a model's folder that is read when it is loaded."""
    found = {path for pattern in _OF_MODEL for path in folder.glob(pattern)}
    return {path.name: _of_file(path) for path in sorted(found) if path.is_file()}


def _of_file(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        length = file.seek(0, os.SEEK_END)
        digest.update(b"%d\0" % length)
        file.seek(0)
        if length <= _SMALL and path.suffix != ".safetensors":
            digest.update(file.read())
        else:
            step = max(_BLOCK_BYTES, length // _BLOCKS)
            for start in range(0, length, step):
                file.seek(start)
                digest.update(file.read(_BLOCK_BYTES))
    return digest.hexdigest()


def spread(samples: Sequence[Sample], n: int) -> list[Sample]:
    """Return at most n samples, spread evenly over the list, beginning with the first."""
    step = max(1, len(samples) // n)
    return list(samples[::step][:n])
