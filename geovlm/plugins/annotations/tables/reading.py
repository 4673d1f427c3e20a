"""Reads tables row by row: CSV and TSV, JSON lines, a JSON list, Parquet, saved data sets.

Only a few rows are in memory at a time. A row is a mapping of column -> value; cells of CSV are
texts. An empty cell and a number that is not finite, as pandas writes missing values, are left out
of the row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from geovlm.errors import DataError
from geovlm.files import records as files
from geovlm.files import streams
from geovlm.plugins.annotations.records import Skip
from geovlm.plugins.annotations.tables import features, saved

if TYPE_CHECKING:
    import pyarrow as pa

_LOOKED_AT = 100
"""Rows whose keys are the columns of a file without a header."""
_MISSING = frozenset({"", "nan", "NaN"})


class Row(NamedTuple):
    """One row of a table."""

    where: str
    """Place, such as `rows.csv:12`."""
    cells: Mapping[str, Any]
    """Column -> value, of the columns that have one in this row."""


def is_csv(source: Path) -> bool:
    """True for a file that ends in `.csv` or `.tsv`."""
    return source.is_file() and source.suffix.lower() in (".csv", ".tsv", ".tab")


def is_jsonl(source: Path) -> bool:
    """True for a file that ends in `.jsonl` or `.ndjson`."""
    return source.is_file() and source.suffix.lower() in (".jsonl", ".ndjson")


def is_parquet(source: Path) -> bool:
    """True for a Parquet file, or a folder of such files."""
    return source.suffix.lower() == ".parquet" or (
        source.is_dir() and any(source.rglob("*.parquet"))
    )


def is_json(source: Path) -> bool:
    """True for a JSON file that holds a list of objects."""
    if not (source.is_file() and source.suffix.lower() == ".json"):
        return False
    try:
        return isinstance(next(streams.json_array(source), None), dict)
    except DataError:
        return False


def columns(source: Path, form: str) -> tuple[str, ...]:
    """Return the columns of a table: of its header or schema, else of its first rows.

    Raises:
        DataError: the file cannot be read, or holds no row.
    """
    if form == "parquet":
        parts = _parts(source)
        there = dict.fromkeys(name for part in parts for name in _schema(part).names)
        splits = {features.split_of(part.relative_to(source)) for part in parts if part != source}
        return tuple(there | dict.fromkeys(("split",) * bool(splits - {""})))
    if form == "datasets":
        return saved.columns(source)
    if form == "csv":
        return _header(source, next(files.csv_table(source), None))
    names: dict[str, None] = {}
    for row in islice(rows(source, form, lambda reason, item: None), _LOOKED_AT):
        names |= dict.fromkeys(row.cells)
    if not names:
        raise DataError(f"{source} holds no row", hint="each row is a JSON object: {…}")
    return tuple(names)


def rows(source: Path, form: str, skip: Skip) -> Iterator[Row]:
    """Yield the rows of a table of the format `csv`, `jsonl`, `json`, `parquet` or `datasets`.

    Of several Parquet files, each gives its rows the `split` that its name has.

    Raises:
        DataError: the file cannot be read; names file and line.
    """
    return _READ[form](source, skip)


def _csv(source: Path, skip: Skip) -> Iterator[Row]:
    name_of_file = source.name
    table = files.csv_table(source)
    header = _header(source, next(table, None))
    for number, fields in table:
        where = f"{name_of_file}:{number}"
        if len(fields) != len(header):
            skip("row with more or fewer fields than the header", where)
            continue
        cells = {
            name: value
            for name, field in zip(header, fields, strict=True)
            if (value := field.strip()) not in _MISSING
        }
        yield Row(where, cells)


def _header(source: Path, first: tuple[int, list[str]] | None) -> tuple[str, ...]:
    if first is None:
        raise DataError(f"{source} holds no row", hint="its first line names the columns")
    names = [name.strip() for name in first[1]]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            f"{source}:{first[0]} has two columns {twice!r}", hint="each needs a name of its own"
        )
    return tuple(names)


def _jsonl(source: Path, skip: Skip) -> Iterator[Row]:
    name = source.name
    for number, value in files.json_lines(source, skip=skip):
        if type(value) is dict:
            yield Row(f"{name}:{number}", _present(value))
        else:
            yield from _objects(f"{name}:{number}", value, skip)


def _json(source: Path, skip: Skip) -> Iterator[Row]:
    for number, value in enumerate(streams.json_array(source)):
        yield from _objects(f"{source.name} record {number}", value, skip)


def _objects(where: str, value: Any, skip: Skip) -> Iterator[Row]:
    if isinstance(value, dict):
        yield Row(where, _present(value))
    else:
        skip("row that is not a JSON object", where)


def _present(value: dict[str, Any]) -> dict[str, Any]:
    """Return an object without its missing values; itself where there are none."""
    for each in value.values():
        if type(each) is not str or not each:
            return {name: each for name, each in value.items() if not _is_missing(each)}
    return value


def _parquet(source: Path, skip: Skip) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for part in _parts(source):
        number = 0
        split = features.split_of(part.relative_to(source)) if part != source else ""
        own = features.of_metadata(_schema(part).metadata, part)
        try:
            with pq.ParquetFile(part) as file:
                for batch in file.iter_batches(1024):
                    for value in batch.to_pylist():
                        found = features.named(value, own)
                        found = {"split": split, **found} if split else found
                        yield from _objects(f"{part.name} row {number}", found, skip)
                        number += 1
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{part} cannot be read as Parquet: {error}", hint="copy or download it again"
            ) from error


def _saved(source: Path, skip: Skip) -> Iterator[Row]:
    for where, value in saved.rows(source):
        yield from _objects(where, value, skip)


def _schema(part: Path) -> pa.Schema:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(part)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{part} cannot be read as Parquet: {error}", hint="copy or download it again"
        ) from error


def _parts(source: Path) -> list[Path]:
    return sorted(source.rglob("*.parquet")) if source.is_dir() else [source]


def _is_missing(value: Any) -> bool:
    if type(value) is str:  # nearly all values
        return not value
    if isinstance(value, float):
        return not math.isfinite(value)
    return value is None


_READ: Mapping[str, Callable[[Path, Skip], Iterator[Row]]] = {
    "csv": _csv,
    "jsonl": _jsonl,
    "json": _json,
    "parquet": _parquet,
    "datasets": _saved,
}
