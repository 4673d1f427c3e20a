"""Reads JSON files of any size value by value."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from geovlm.errors import DataError
from geovlm.files import text

_CHUNK = 1 << 22
_LONGEST_RECORD = 1 << 27
"""Characters of the longest value, such as the outline of a coast."""
_LONG_LINE = 1 << 16
CORRECT = "correct it there"
"""The remedy for a fault in a file."""
NESTED = "lists or objects are nested too deeply"
_CUT = "the file seems to be cut off: copy, unpack or download it again"


def json_array(path: Path) -> Iterator[Any]:
    """Yield the elements of a JSON array one after another, holding only a few MB of the file.

    Raises:
        DataError: the file is not a JSON array; names file, line and reason.
    """
    with _streamed(path) as stream:
        stream.open("[", "a JSON array", "it must hold one list of records: [{…}, {…}]")
        yield from stream.elements()


def json_members(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield key and value of each member of a JSON object, holding only a few MB of the file.

    A list comes as an iterator over its elements, which must be used before the next member is
    taken; elements that are left are passed over.

    Raises:
        DataError: the file is not a JSON object; names file, line and reason.
    """
    with _streamed(path) as stream:
        stream.open("{", "a JSON object", "it must hold one object: {…}")
        while stream.next() != "}":
            key = stream.value()
            if not isinstance(key, str) or stream.next() != ":":
                raise DataError(f"{path}, line {stream.line}: not JSON: no key", hint=CORRECT)
            stream.at += 1
            if stream.next() != "[":
                yield key, stream.value()
                continue
            stream.at += 1
            elements = stream.elements()
            yield key, elements
            for _ in elements:
                pass


def not_json(error: json.JSONDecodeError, path: Path, *, line: int) -> DataError:
    """Return the error for a text that begins in a line of a file."""
    cut = error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated string")
    place = f"line {line + error.lineno - 1}, column {error.colno}"
    reason = f"{error.msg[:1].lower()}{error.msg[1:]}"
    return DataError(f"{path}, {place}: not JSON: {reason}", hint=_CUT if cut else CORRECT)


class _Stream:
    """Reads JSON values one after another from a text that is read part by part."""

    def __init__(self, read: Callable[[int], str], path: Path) -> None:
        self.path = path
        self.line = 1
        self.at = 0
        self._read = read
        self._buffer = read(_CHUNK)
        self._ended = False
        self._decoder = json.JSONDecoder()

    def open(self, sign: str, kind: str, hint: str) -> None:
        """Pass over the sign that begins a value.

        Raises:
            DataError: another one is there.
        """
        if self.next() != sign:
            begin = self._buffer[self.at : self.at + 20]
            raise DataError(f"{self.path} is not {kind}, it begins with {begin!r}", hint=hint)
        self.at += 1

    def next(self) -> str:
        """Return the next sign that is no blank and no comma; "" at the end."""
        while True:
            while self.at < len(self._buffer) and self._buffer[self.at] in " \t\r\n,":
                self.at += 1
            if self.at < len(self._buffer) or self._ended:
                return self._buffer[self.at : self.at + 1]
            self._more()

    def value(self) -> Any:
        """Return the value that begins here."""
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self.at)
            except RecursionError as error:
                raise DataError(f"{self.path}: {NESTED}", hint=CORRECT) from error
            except json.JSONDecodeError as error:
                if self._ended or len(self._buffer) - self.at > _LONGEST_RECORD:
                    raise not_json(error, self.path, line=self.line) from error
            else:
                if end < len(self._buffer) or self._ended:  # else a number may go on
                    self.at = end
                    return value
            self._more()

    def elements(self) -> Iterator[Any]:
        """Yield the elements of the list that begins here, and pass over its end."""
        while self.next() != "]":
            yield self.value()
        self.at += 1

    def _more(self) -> None:
        # a long value is tried again when twice as much of it is there
        more = self._read(max(_CHUNK, len(self._buffer) - self.at))
        self._ended = not more
        # from the beginning of the line, for the columns of messages, if that is near
        start = self._buffer.rfind("\n", 0, self.at) + 1
        start = start if self.at - start < _LONG_LINE else self.at
        self.line += self._buffer.count("\n", 0, start)
        self._buffer, self.at = self._buffer[start:] + more, self.at - start


@contextmanager
def _streamed(path: Path) -> Iterator[_Stream]:
    """Open a file of JSON; errors as `json_array`."""
    try:
        with path.open("rb") as raw:
            head = raw.read(max(4, text.LONGEST_BEGINNING))
    except OSError as error:
        raise text.unopened(path, error) from error
    fault = text.nature(head)
    if fault is not None:
        raise DataError(f"{path} {fault.problem}", hint=fault.remedy)
    form = text.encoding(head)
    with path.open(encoding=form) as file:
        try:
            yield _Stream(file.read, path)
        except UnicodeDecodeError as error:
            name = form.removesuffix("-sig").upper()
            raise DataError(
                f"{path}: byte 0x{error.object[error.start]:02x} is not {name}",
                hint="save the file as UTF-8",
            ) from error
