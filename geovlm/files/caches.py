"""Finds the folder of the cache, and keeps files in it by their contents."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from geovlm.errors import DataError

ELSEWHERE = "name a folder that can be written in GEOVLM_CACHE"


def cache_dir() -> Path:
    """Return the folder of the cache and of generated data: `GEOVLM_CACHE` or ~/.cache/geovlm.

    Raises:
        DataError: the user has no home, as the numeric users of containers.
    """
    named = os.environ.get("GEOVLM_CACHE")
    try:
        return Path(named) if named else Path.home() / ".cache" / "geovlm"
    except RuntimeError as error:
        raise DataError("the user has no home folder for the cache", hint=ELSEWHERE) from error


def keep(data: bytes, *, folder: str, ending: str) -> Path:
    """Return the file in the cache with these bytes, which is written if it is not there.

    Args:
        data: the whole file.
        folder: name of a folder of the cache.
        ending: end of its name, such as `.png`; the rest is a digest of the bytes.

    Raises:
        DataError: the user has no home.
        OSError: the cache cannot be written.
    """
    name = hashlib.blake2b(data, digest_size=16).hexdigest()
    path = cache_dir() / folder / name[:2] / f"{name}{ending}"
    if path.is_file() and path.stat().st_size == len(data):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        file.write(data)
    scratch = Path(file.name)
    scratch.chmod(0o644)
    scratch.replace(path)
    return path
