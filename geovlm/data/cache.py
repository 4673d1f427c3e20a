"""Keeps results about files on disk, so that half a million files are read only once.

An entry is valid while path, length and modification time of its files stay the same. Failures are
not kept: a file that is repaired, or was on a busy disk, is read again.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TypeVar

from geovlm.errors import DataError
from geovlm.files.caches import ELSEWHERE, cache_dir

T = TypeVar("T")
U = TypeVar("U")

_AT_ONCE = 256  # items per query of the cache
_PER_TASK = 8  # items per thread task: handing over one costs as much as reading its entry
_SECONDS = 1.0  # between two writes: at most this much work is lost when the process is killed
_WORKERS = 16


def explain(error: OSError) -> str | None:
    """Return why the cache cannot be used, with the fix; `None` if the error is about another file.

    Generated data lie in the cache too, so nearly every command may be the first to need it.
    """
    if error.filename is None or isinstance(error.filename, int):
        return None
    folder, at = cache_dir().absolute(), Path(os.fsdecode(error.filename)).absolute()
    if not (at.is_relative_to(folder) or folder.is_relative_to(at)):
        return None
    return f"the cache {folder} cannot be used: {error.strerror} ({at}) ({ELSEWHERE})"


def look(
    items: Sequence[T],
    *,
    kind: Callable[[T], str],
    files: Callable[[T], Sequence[Path]],
    work: Callable[[T, Sequence[Path]], bytes],
) -> Iterator[tuple[T, bytes | DataError]]:
    """Yield each item with the result of `work`, in order; several items are worked on at a time.

    The result of an earlier call with the same kind (name and version of the work) and files is
    taken from the cache. A `DataError` of `work` is yielded in place of a result.

    Raises:
        DataError: the cache cannot be read or written; names it.
    """
    path = cache_dir() / "files.sqlite"

    def keyed(some: Sequence[T]) -> list[tuple[Sequence[Path], bytes | None]]:
        return [(paths, _key(kind(item), paths)) for item in some for paths in (files(item),)]

    def worked(some: Sequence[tuple[T, Sequence[Path]]]) -> list[bytes | DataError]:
        made: list[bytes | DataError] = []
        for item, paths in some:
            try:
                made.append(work(item, paths))
            except DataError as error:
                made.append(error)
        return made

    pool = ThreadPoolExecutor(max_workers=min(_WORKERS, 4 * (os.cpu_count() or 1)))
    try:
        with closing(_open(path)) as store:
            unsaved: list[tuple[bytes, bytes]] = []
            saved = time.monotonic()
            try:
                for start in range(0, len(items), _AT_ONCE):
                    chunk = items[start : start + _AT_ONCE]
                    looked = list(chain.from_iterable(pool.map(keyed, _batched(chunk))))
                    keys = [key for _, key in looked]
                    known = _read(store, [key for key in keys if key is not None])
                    left = [i for i, key in enumerate(keys) if key is None or key not in known]
                    todo = [(chunk[i], looked[i][0]) for i in left]
                    results = chain.from_iterable(pool.map(worked, _batched(todo)))
                    made = dict(zip(left, results, strict=True))
                    for i, result in made.items():
                        key = keys[i]
                        if key is not None and isinstance(result, bytes):
                            unsaved.append((key, result))
                    if time.monotonic() - saved > _SECONDS:
                        _write(store, unsaved)
                        unsaved, saved = [], time.monotonic()
                    for i, key in enumerate(keys):
                        yield chunk[i], made[i] if i in made else known[key or b""]
            finally:
                _write(store, unsaved)
    except sqlite3.Error as error:
        raise DataError(
            f"{path}: the cache cannot be used: {error}",
            hint=f"delete it, or {ELSEWHERE}",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _batched(items: Sequence[U]) -> list[Sequence[U]]:
    """Return the items, `_PER_TASK` at a time."""
    return [items[at : at + _PER_TASK] for at in range(0, len(items), _PER_TASK)]


def _key(kind: str, files: Sequence[Path]) -> bytes | None:
    """Return the key of an entry for the files in their present state; `None` if one is absent."""
    digest = hashlib.blake2b(kind.encode(), digest_size=16)
    for path in files:
        try:
            state = path.stat()
        except OSError:
            return None
        name = os.fsencode(path if path.is_absolute() else path.absolute())
        digest.update(b"\0%d\0%d\0%s" % (state.st_size, state.st_mtime_ns, name))
    return digest.digest()


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise sqlite3.OperationalError(str(error)) from error
    store = sqlite3.connect(path, timeout=30)
    store.execute("PRAGMA synchronous = OFF")
    store.execute(
        "CREATE TABLE IF NOT EXISTS found (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID"
    )
    return store


def _read(store: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, bytes]:
    marks = ",".join("?" * len(keys))
    return dict(store.execute(f"SELECT key, value FROM found WHERE key IN ({marks})", keys))


def _write(store: sqlite3.Connection, entries: Sequence[tuple[bytes, bytes]]) -> None:
    with store:
        store.executemany("INSERT OR REPLACE INTO found VALUES (?, ?)", entries)
