"""Reads data sets that the package `datasets` saved on disk (`save_to_disk`); needs pyarrow.

Such a folder holds `state.json`, which names its Arrow files in order, and `dataset_info.json`. A
column of images holds the bytes of image files. Columns that are not asked for are never decoded,
and files are mapped into memory, so that a shard of many GB costs little.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geovlm.errors import DataError
from geovlm.files.records import read_json

if TYPE_CHECKING:
    import pyarrow as pa

STATE = "state.json"
_INFO = "dataset_info.json"


def saved_folders(root: Path) -> list[Path]:
    """Return the folders at and below a root that hold a saved data set, sorted.

    Links to folders are not followed.
    """
    return sorted(
        Path(folder) for folder, _, names in os.walk(root) if STATE in names and _INFO in names
    )


def saved_columns(folder: Path) -> list[str]:
    """Return the names of the columns of a saved data set, in their order.

    Raises:
        DataError: a file is absent or cannot be read; names it.
    """
    first = next(iter(_files(folder)))
    with _mapped(first) as stream:
        return list(stream.schema.names)


def saved_rows(folder: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the named columns of each row of a saved data set, in its order.

    Args:
        folder: holds `state.json`.
        columns: names; each must be there. An image is its file's bytes.

    Raises:
        DataError: a file is absent or cannot be read, or lacks a column; names it.
    """
    import pyarrow as pa

    for file in _files(folder):
        with _mapped(file) as stream:
            missing = [name for name in columns if name not in stream.schema.names]
            if missing:
                raise DataError(
                    f"{file} has no column {missing[0]!r}, but {', '.join(stream.schema.names)}",
                    hint="name another folder",
                )
            try:
                for batch in stream:
                    chosen = batch.select(list(columns))
                    for number in range(len(chosen)):  # a batch of images may be larger than memory
                        (row,) = chosen.slice(number, 1).to_pylist()
                        yield {name: _value(value) for name, value in row.items()}
            except (pa.ArrowException, OSError) as error:
                raise _unreadable(file, error) from error


def _value(value: Any) -> Any:
    """Return the bytes of an image; any other value as it is."""
    if isinstance(value, dict) and set(value) == {"bytes", "path"}:
        return value["bytes"]
    return value


def _files(folder: Path) -> list[Path]:
    state = read_json(folder / STATE)
    listed = state.get("_data_files") if isinstance(state, dict) else None
    named = [each.get("filename") for each in listed or () if isinstance(each, dict)]
    names = [name for name in named if isinstance(name, str)]
    if not names or len(names) < len(named):
        raise DataError(
            f"{folder / STATE} names no Arrow files", hint="copy or download the folder again"
        )
    return [folder / name for name in names]


def _mapped(file: Path) -> pa.RecordBatchStreamReader:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise DataError(f"{file} needs pyarrow to be read", hint="pip install pyarrow") from error
    try:
        return pa.ipc.open_stream(pa.memory_map(str(file)))
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> DataError:
    return DataError(f"{file} cannot be read as Arrow: {error}", hint="copy or download it again")
