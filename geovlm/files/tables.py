"""Reads columns of Parquet files as the types that the caller wants, whatever wrote the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from geovlm.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

Kind: TypeAlias = Literal["text", "texts", "flag"]
"""Meaning of a column: a text, a list of texts, or true and false."""
_ROWS_AT_ONCE = 16_384


def table_batches(
    path: Path, *, columns: Mapping[str, Kind], optional: Mapping[str, Kind] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the named columns of a Parquet file, a few thousand rows at a time; needs pyarrow.

    A column of kind `text` has type string, of `texts` list<string>, of `flag` bool. The file may
    have other types for the same values: what pandas, Polars, DuckDB and Spark write (large, view
    and dictionary types, lists of a fixed size, numbers as texts, 0 and 1 as flags) is cast. Other
    columns, and their order, do not matter.

    Args:
        path: the file, or a folder of files as Spark, Dask and DuckDB write it; a folder of it may
            be named after a value, as in `split=train`.
        columns: name -> kind; each must be there.
        optional: name -> kind of columns that are left out if the file lacks them.

    Raises:
        DataError: the file cannot be read, lacks a column, or has one that cannot be cast; names
            file and column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = {**columns, **(optional or {})}
    for file in _parts(path):
        given = _partition(file, path)
        try:
            with pq.ParquetFile(file) as source:
                there = [name for name in wanted if name in source.schema_arrow.names]
                missing = [name for name in columns if name not in {*there, *given}]
                if missing:
                    raise DataError(
                        f"{file} has no column {missing[0]!r}, but "
                        f"{', '.join(source.schema_arrow.names)}",
                        hint="rename the column",
                    )
                for batch in source.iter_batches(_ROWS_AT_ONCE, columns=there):
                    made = {name: _cast(batch[name], wanted[name], name, file) for name in there}
                    for name in wanted.keys() & given.keys() - made.keys():
                        texts = pa.array([given[name]] * len(batch), pa.string())
                        made[name] = _cast(texts, wanted[name], name, file)
                    yield pa.RecordBatch.from_arrays(list(made.values()), names=list(made))
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{file} cannot be read as Parquet: {error}", hint=_remedy(file)
            ) from error


def _parts(path: Path) -> list[Path]:
    """Return the file, or the Parquet files of a folder by name."""
    if not path.is_dir():
        return [path]
    found = sorted(path.rglob("*.parquet"))
    parts = [each for each in found if not each.name.startswith((".", "_"))]
    if not parts:
        raise DataError(f"{path} is a folder without Parquet files", hint="name a Parquet file")
    return parts


def _partition(file: Path, path: Path) -> dict[str, str]:
    """Return the values that the folders of a file name, as in `split=train/part-0.parquet`."""
    folders = file.relative_to(path).parts[:-1] if file != path else ()
    return {name: value for name, sign, value in (each.partition("=") for each in folders) if sign}


def _cast(column: pa.Array, kind: Kind, name: str, path: Path) -> pa.Array:
    import pyarrow as pa

    types = {"text": pa.string(), "texts": pa.list_(pa.string()), "flag": pa.bool_()}
    wanted = types[kind]
    if column.type == wanted:
        return column
    found = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    if kind == "texts" and not _is_list(found.type):
        raise DataError(
            f"{path}: column {name!r} has type {found.type}, not a list of texts",
            hint="write one list per row, such as ['Pastures', 'Arable land']",
        )
    if not (pa.types.is_list_view(found.type) or pa.types.is_large_list_view(found.type)):
        try:  # the cast of a list view gives an array with too few offsets (pyarrow 26.0.1)
            return found.cast(wanted)
        except pa.ArrowException:  # pyarrow has no such cast: through the values
            pass
    try:
        values: list[Any] = found.to_pylist()
        if kind == "texts":
            values = [v and [None if each is None else str(each) for each in v] for v in values]
        return pa.array(values, wanted)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: column {name!r} has type {column.type}, which cannot become {wanted}",
            hint="write it again with another type",
        ) from error


def _is_list(kind: pa.DataType) -> bool:
    from pyarrow import types

    tests = ("is_list", "is_large_list", "is_fixed_size_list", "is_list_view", "is_large_list_view")
    return types.is_null(kind) or any(getattr(types, test)(kind) for test in tests)


def _remedy(path: Path) -> str:
    from geovlm.files.text import LONGEST_BEGINNING, nature

    try:
        with path.open("rb") as file:
            fault = nature(file.read(LONGEST_BEGINNING))
    except OSError:
        return "check the path, its permissions and the disk"
    return f"it {fault.problem}: {fault.remedy}" if fault else "copy or download it again"
