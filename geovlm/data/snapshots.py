"""Keeps the records of a split in a file: a run reads its data once, its processes open the file.

A record is a line of JSON, and is parsed when it is asked for: half a million of them take no
memory, and a stage that trains on a thousand never parses the others. The file is of one run, which
names the contents that it must hold, so it is never read for other data.
"""

from __future__ import annotations

import contextlib
import json
import mmap
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from geovlm.api import Sample

_FORM = 1
_PLAIN = frozenset({str, int, float, bool, type(None)})
_ENCODER = json.JSONEncoder()
_SCAN = json.JSONDecoder().raw_decode
_BETWEEN = b"\t"  # JSON writes it as an escape
_REMEMBERED = 4096


class Snapshot(Sequence[Sample]):
    """The records of one split, each parsed when it is read."""

    def __init__(self, held: memoryview, ends: memoryview) -> None:
        self._held = held
        self._ends = ends
        self._last: tuple[list[str], tuple[Path, ...]] = ([], ())

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._parse(number) for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(index)
        return self._parse(number)

    def _parse(self, number: int) -> Sample:
        line = str(self._held[self._ends[number] : self._ends[number + 1]], "ascii")
        (own, question, meta, images, sizes), end = _SCAN(line)
        last = self._last
        if images != last[0]:  # rows of one image often follow one another
            last = self._last = images, tuple(map(Path, images))
        return Sample(
            id=own,
            images=last[1],
            target=_SCAN(line, end + len(_BETWEEN))[0],
            question=question,
            meta=meta,
            image_sizes=tuple(map(tuple, sizes)),
        )


def write(path: Path, records: Sequence[Sample], *, contents: str) -> bool:
    """Write the records of a split; returns False, and leaves no file, if they cannot be kept.

    Those that can have images in files of their own, and plain JSON values in `target` and `meta`.

    Args:
        path: file to write; its folder is made.
        records: all records of the split.
        contents: digest of data and folder, which `read` must name.
    """
    scratch = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("wb") as file:
            if not _write(file, records, contents=contents):
                return False
        scratch.replace(path)
    except OSError:  # without the file each process reads the data itself
        return False
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
    return True


def read(path: Path, *, contents: str) -> Snapshot | None:
    """Return the records that `write` kept; `None` without such a file of these contents."""
    try:
        with path.open("rb") as file:
            whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError):  # no file, or an empty one
        return None
    tail = bytes(whole[-4096:])
    try:
        form, size, count, last, held = json.loads(tail[tail.rindex(b"[") :])
    except ValueError:
        return None
    begin = len(whole) - len(tail) + tail.rindex(b"[") - size * count
    if (form, held, begin) != (_FORM, contents, last):
        return None
    return Snapshot(whole[:last], whole[last : last + size * count].cast("Q"))


def _write(file: BinaryIO, records: Sequence[Sample], *, contents: str) -> bool:
    """Write lines, the place where each ends, and a head behind them; False at the first unfit."""
    targets: dict[int, tuple[Any, bytes]] = {}  # by identity: records share those of equal answers
    ends = array("Q", [0])
    for record in records:
        known = targets.get(id(record.target))
        if known is None:
            if not _is_plain(dict(record.target)):
                return False
            if len(targets) > _REMEMBERED:
                targets.clear()
            known = (record.target, _ENCODER.encode(dict(record.target)).encode())
            targets[id(record.target)] = known
        parts = _parts(record)
        if parts is None:
            return False
        line = _ENCODER.encode(parts).encode()
        ends.append(ends[-1] + file.write(line + _BETWEEN + known[1] + b"\n"))
    file.write(ends.tobytes())
    file.write(_ENCODER.encode([_FORM, ends.itemsize, len(ends), ends[-1], contents]).encode())
    return True


def _parts(record: Sample) -> list[Any] | None:
    """Return what a record holds besides its target; `None` if JSON would not give it back."""
    for image in record.images:
        if not isinstance(image, Path):
            return None
    meta, sizes = dict(record.meta), list(map(list, record.image_sizes))
    if not _is_plain(meta) or not _is_plain(sizes):
        return None
    return [record.id, record.question, meta, list(map(str, record.images)), sizes]


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind is list:
        return all(map(_is_plain, value))
    if kind is dict:
        return all(type(key) is str for key in value) and all(map(_is_plain, value.values()))
    return False
