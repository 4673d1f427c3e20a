"""Decodes text files of users, and says what a file is that holds no text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from geovlm.errors import DataError

_COPY = "copy or download it again"
_BEGINNINGS = {
    b"\x1f\x8b": ("is compressed (gzip)", "decompress it with gunzip"),
    b"PK\x03\x04": ("is a ZIP archive", "unpack it"),
    b"BZh": ("is compressed (bzip2)", "decompress it with bunzip2"),
    b"\xfd7zXZ": ("is compressed (xz)", "decompress it with unxz"),
    b"\x28\xb5\x2f\xfd": ("is compressed (Zstandard)", "decompress it with unzstd"),
    b"version https://git-lfs": (
        "is a pointer of Git LFS, not the file itself",
        "git lfs pull, or download the file itself",
    ),
    b"<!doctype html": ("is a web page, not the file itself", "download the file itself"),
    b"<html": ("is a web page, not the file itself", "download the file itself"),
    b"\x00\x05\x16\x07": ("holds attributes of macOS, no text", "delete it: dot_clean does so"),
}
"""First bytes, in lower case -> what such a file is, and the remedy."""
LONGEST_BEGINNING = max(map(len, _BEGINNINGS))


class Fault(NamedTuple):
    """The reason for which the bytes of a file are no text."""

    problem: str
    remedy: str


def read_text(path: Path) -> str:
    r"""Return the text of a file in UTF-8, UTF-16 or UTF-32.

    A byte order mark is left out, and line ends become `\n`.

    Raises:
        DataError: the file cannot be opened or is no text; names file, place and reason.
    """
    return decode(read_bytes(path), path).replace("\r\n", "\n")


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        DataError: the file cannot be opened, is empty or holds no text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unopened(path, error) from error
    fault = nature(data)
    if fault is not None:
        raise DataError(f"{path} {fault.problem}", hint=fault.remedy)
    return data


def nature(data: bytes) -> Fault | None:
    """Return why a file that begins with these bytes holds no text; `None` if it may hold some."""
    if not data:
        return Fault("is empty (0 bytes)", _COPY)
    head = data[:LONGEST_BEGINNING].lower()
    for beginning, found in _BEGINNINGS.items():
        if head.startswith(beginning.lower()):
            return Fault(*found)
    if not data.strip(b"\0"):
        return Fault("holds zero bytes only", _COPY)
    return None


def encoding(head: bytes) -> str:
    """Return the encoding of a text that begins with these bytes: a byte order mark decides.

    Without a mark, zero bytes among the first four are those of UTF-16 or UTF-32; else it is UTF-8.
    """
    return json.detect_encoding(head[:4])


def decode(data: bytes, path: Path, *, line: int = 1, form: str | None = None) -> str:
    """Return the bytes of a file as text, without a byte order mark.

    Args:
        data: the whole file, or its part from `line` on.
        path: the file, for the message.
        line: number of the first line in `data`.
        form: the encoding, where it is known.

    Raises:
        DataError: a byte is not of the encoding; names line and column.
    """
    form = form or encoding(data)
    try:
        return data.decode(form)
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode(form, errors="replace")
        line += before.count("\n")
        column = len(before) - before.rfind("\n")
        name = form.removesuffix("-sig").upper()
        raise DataError(
            f"{path}, line {line}, column {column}: byte 0x{error.object[error.start]:02x} is not "
            f"{name}",
            hint="save the file as UTF-8",
        ) from error


def unopened(path: Path, error: OSError) -> DataError:
    """Return the error for a file that the system does not open."""
    return DataError(
        f"{path}: {error.strerror or error}",
        hint="check the path, its permissions and the disk",
    )
