"""Reads JSON, JSON lines, CSV and TOML; each fault names file, line, column and reason."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from geovlm.errors import DataError
from geovlm.files import text
from geovlm.files.streams import CORRECT, NESTED, not_json

_SEPARATORS = ",;\t"
_QUOTES = "write a quote inside of a quoted field twice"


def read_json(path: Path) -> Any:
    """Return the value in a JSON file.

    Raises:
        DataError: the file cannot be read or is not JSON; names file, line, column and reason.
    """
    return parse_json(text.decode(text.read_bytes(path), path), path)


def parse_json(
    source: str, path: Path, *, line: int = 1, parse_int: Callable[[str], Any] | None = None
) -> Any:
    """Return the value of a JSON text that begins in a line of a file; errors as `read_json`.

    `parse_int` makes numbers of integers, as `json.loads` takes it.
    """
    try:
        return json.loads(source, parse_int=parse_int)
    except json.JSONDecodeError as error:
        raise not_json(error, path, line=line) from error
    except RecursionError as error:
        raise DataError(f"{path}: {NESTED}", hint=CORRECT) from error
    except ValueError as error:  # a number of more than 4,300 digits
        raise DataError(f"{path}, line {line}: {error}", hint=CORRECT) from error


def json_lines(
    path: Path,
    *,
    skip: Callable[[str, str], None] | None = None,
    parse_int: Callable[[str], Any] | None = None,
) -> Iterator[tuple[int, Any]]:
    """Yield (number of the line, from 1; value) for each line of a JSON-lines file but blank ones.

    Args:
        path: the file; only one line of it is held in memory, unless it is UTF-16.
        skip: called as `skip(reason, item)` for a line that is not JSON, which is then left out;
            `LoadContext.skip` is such a function. `None`: the line raises.
        parse_int: makes numbers of integers, as `json.loads` takes it.

    Raises:
        DataError: the file cannot be opened or holds no text, or, without `skip`, a line of it is
            not JSON.
    """
    scan = json.JSONDecoder(parse_int=parse_int).raw_decode
    for number, line, form in _lines(path):
        try:
            source = text.decode(line, path, line=number, form=form).rstrip()
            if not source:
                continue
            try:  # nearly all lines are one value, and nothing else
                value, end = scan(source)
            except (ValueError, RecursionError):
                end = -1
            if end != len(source):
                value = parse_json(source, path, line=number, parse_int=parse_int)
        except DataError as error:
            if skip is None:
                raise
            skip("line is not JSON", str(error.args[0]))
            continue
        yield number, value


def csv_rows(path: Path) -> Iterator[list[str]]:
    """Yield the fields of each line that is not blank, without spaces around them.

    Fields are separated by the one of `,`, `;` and tab that the first line has most of, and may be
    in double quotes.

    Raises:
        DataError: the file cannot be read; names the place.
    """
    import csv

    lines = text.read_text(path).split("\n")
    first = next((line for line in lines if line.strip()), "")
    separator = max(_SEPARATORS, key=first.count)
    try:
        for row in csv.reader(lines, delimiter=separator):
            fields = [field.strip() for field in row]
            if any(fields):
                yield fields
    except csv.Error as error:
        raise DataError(f"{path} is not CSV: {error}", hint=CORRECT) from error


def csv_table(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of its first line, from 1; fields) for each row that is not blank.

    Rows are read one after another; a field in double quotes may hold separators and line breaks.
    The separator is found as by `csv_rows`. Fields are given as they stand.

    Raises:
        DataError: the file cannot be opened or holds no text, a line is not of its encoding, or a
            quote is not closed or followed by text; names file and line.
    """
    import csv

    lines = _Counted(_text_lines(path))
    first = next((line for line in lines if line.strip()), "")
    separator = max(_SEPARATORS, key=first.count)
    rows = csv.reader(itertools.chain([first], lines), delimiter=separator, strict=True)
    number = lines.count
    while True:
        try:
            fields = next(rows, None)
        except csv.Error as error:
            raise DataError(f"{path}:{number}: not CSV: {error}", hint=_QUOTES) from error
        if fields is None:
            return
        if any(field.strip() for field in fields):
            yield number, fields
        number = lines.count + 1


def read_toml(path: Path) -> dict[str, Any]:
    """Return the table in a TOML file.

    Raises:
        DataError: the file cannot be read or is not TOML; names file, line and column.
    """
    return parse_toml(text.read_text(path), path)


def parse_toml(source: str, path: Path) -> dict[str, Any]:
    """Return the table in the text of a TOML file; errors as `read_toml`."""
    import tomllib

    try:
        return tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path} is not TOML: {error}", hint="see https://toml.io") from error


class _Counted(Iterator[str]):
    """Counts the lines that were taken from an iterator."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.count = 0
        self._lines = lines

    def __next__(self) -> str:
        line = next(self._lines)
        self.count += 1
        return line


def _text_lines(path: Path) -> Iterator[str]:
    r"""Yield the lines of a text; those that end in `\r` alone are cut too."""
    for number, line, form in _lines(path):
        whole = text.decode(line, path, line=number, form=form)
        if whole.endswith("\r\n"):
            whole = f"{whole[:-2]}\n"
        yield from whole.split("\r") if "\r" in whole else [whole]


def _lines(path: Path) -> Iterator[tuple[int, bytes, str]]:
    """Yield number, bytes and encoding of each line."""
    try:
        with path.open("rb") as file:
            head = file.read(text.LONGEST_BEGINNING)
            fault = text.nature(head) if head else None
            if fault is not None:
                raise DataError(f"{path} {fault.problem}", hint=fault.remedy)
            form = text.encoding(head)
            file.seek(0)
            if form not in ("utf-8", "utf-8-sig"):
                whole = text.decode(file.read(), path).split("\n")
                yield from ((n, f"{line}\n".encode(), "utf-8") for n, line in enumerate(whole, 1))
                return
            for number, line in enumerate(file, 1):
                yield number, line, form if number == 1 else "utf-8"
    except OSError as error:
        raise text.unopened(path, error) from error
