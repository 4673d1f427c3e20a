"""Folders as `Dataset.save_to_disk` writes them."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from geovlm import files
from geovlm.errors import DataError

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def save(folder: Path, *shards: list[dict]) -> Path:
    schema = pa.schema([("jpg", IMAGE), ("question", pa.string())])
    folder.mkdir(parents=True)
    names = [f"data-{number:05d}-of-{len(shards):05d}.arrow" for number in range(len(shards))]
    for name, rows in zip(names, shards, strict=True):
        with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, schema) as out:
            out.write_table(pa.Table.from_pylist(rows, schema))
    state = {"_data_files": [{"filename": name} for name in names]}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def row(number: int) -> dict:
    return {"jpg": {"bytes": b"%d" % number, "path": None}, "question": f"q{number}"}


def test_rows_come_shard_by_shard_and_an_image_is_its_bytes(tmp_path: Path) -> None:
    folder = save(tmp_path / "a", [row(0), row(1)], [row(2)])
    assert list(files.saved_rows(folder, ["question", "jpg"])) == [
        {"question": "q0", "jpg": b"0"},
        {"question": "q1", "jpg": b"1"},
        {"question": "q2", "jpg": b"2"},
    ]
    assert list(files.saved_rows(folder, ["question"]))[-1] == {"question": "q2"}


def test_columns_and_folders_are_listed(tmp_path: Path) -> None:
    inner = save(tmp_path / "b" / "MUDS", [row(0)])
    other = save(tmp_path / "a", [row(0)])
    (tmp_path / "c").mkdir()
    assert files.saved_folders(tmp_path) == [other, inner]
    assert files.saved_columns(inner) == ["jpg", "question"]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    folder = save(tmp_path / "a", [row(0)])
    with pytest.raises(DataError, match="no column 'answer', but jpg, question"):
        list(files.saved_rows(folder, ["answer"]))


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = save(tmp_path / "a", [row(0)], [row(1)])
    (folder / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(DataError, match=r"data-00001-of-00002\.arrow cannot be read as Arrow"):
        list(files.saved_rows(folder, ["question"]))


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    folder = save(tmp_path / "a", [row(0)])
    (folder / "data-00000-of-00001.arrow").write_bytes(b"version https://git-lfs")
    with pytest.raises(DataError, match=r"00001\.arrow cannot be read as Arrow"):
        files.saved_columns(folder)


@pytest.mark.parametrize("state", ["[]", "{}", '{"_data_files": [{"filename": 3}]}'])
def test_a_state_without_files_is_refused(tmp_path: Path, state: str) -> None:
    folder = save(tmp_path / "a", [row(0)])
    (folder / "state.json").write_text(state)
    with pytest.raises(DataError, match=r"state\.json names no Arrow files"):
        files.saved_columns(folder)
