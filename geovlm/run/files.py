"""Reads and writes files so that a kill or a full disk loses as little as possible."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from geovlm import answers
from geovlm.errors import ConfigError, DataError
from geovlm.files import jsontext

REFUSALS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""Numbers of errors that only a write can meet: no space, quota, largest file size, read-only."""
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
"""The form in which safetensors, which is Rust, reports an `OSError`."""
_TORCH = re.compile(r"iostream error|PytorchStreamWriter failed|unexpected pos|file write failed")
"""The messages with which `torch.save` reports it, without a reason."""


def write_text(path: Path, text: str, *, sync: bool = True) -> None:
    """Write a text file so that it is whole or as it was before; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # as in JSON, a byte of a file name that is not UTF-8 becomes an escape
        with scratch.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file so that it is whole or as it was before; makes its folder."""
    write_text(path, jsontext.dumps(value, indent=2, ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        DataError: the file cannot be read as JSON; names it.
    """
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="was it edited by hand?") from error
    return value


class JsonLines:
    """A file of one JSON object per line; a killed process may leave its end torn."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[dict[str, Any]]:
        """Return the records before a torn end; none if there is no file."""
        return list(self.records())

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the records before a torn end, one after the other."""
        return (record for record, _ in self._whole())

    def append(self, records: Iterable[dict[str, Any]], *, sync: bool = False) -> None:
        """Append records, with `sync` to the disk; numbers that are not finite become null."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(jsontext.lines(records))
            if sync:
                file.flush()
                os.fsync(file.fileno())

    def repair(self) -> None:
        """Remove a torn end, so that the next record does not continue it."""
        if self._path.exists():
            os.truncate(self._path, sum(len(line) for _, line in self._whole()))

    def cut(self, *, after_step: int) -> None:
        """Remove a torn end and the records of later steps, which the run is about to repeat."""
        if self._path.exists():
            kept = [line for record, line in self._whole() if record["step"] <= after_step]
            write_text(self._path, b"".join(kept).decode())

    def _whole(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yield each record with its line, up to the first that is not whole."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            for line in file:
                try:
                    record = json.loads(line)
                except ValueError:
                    return
                if not line.endswith(b"\n"):
                    return
                yield record, line


def check_writable(folder: Path) -> None:
    """Refuse a folder in which nothing can be written, before anything expensive.

    Raises:
        ConfigError: states what the system answered, or that the name is not Unicode.
    """
    import tempfile

    why = answers.defect(str(folder))
    if why is not None:
        raise ConfigError(f"{folder}: its name holds {why}", hint="give another --output")
    above = folder
    while not above.exists():
        above = above.parent
    try:
        with tempfile.TemporaryFile(dir=above) as file:
            file.write(bytes(4096))
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be written: {error.strerror}",
            hint="give an --output on a disk with room, in a folder that you may write to",
        ) from error


def refusal(error: BaseException | None) -> str | None:
    """Return why the disk refused a write; `None` if another error is behind the exception.

    The causes and contexts of the exception are searched too: `torch.save` hides the system's
    error behind its own.
    """
    hidden = None
    while error is not None:
        found = _OS_ERROR.search(str(error))
        number = error.errno if isinstance(error, OSError) else int(found[1]) if found else None
        if number in REFUSALS:
            named = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
            return f"{os.strerror(number)}{named}"
        if _TORCH.search(str(error)):
            hidden = "a file could not be written to its end; is the disk full?"
        error = error.__cause__ or error.__context__
    return hidden
