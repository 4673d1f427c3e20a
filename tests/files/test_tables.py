from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from geovlm import files
from geovlm.errors import DataError

NAMES = ["a", "b"]
LABELS = [["x", "y"], []]
COLUMNS = {"name": "text", "labels": "texts", "flag": "flag"}


def written(path: Path, **columns: pa.Array) -> Path:
    own = {"name": pa.array(NAMES), "labels": pa.array(LABELS), "flag": pa.array([True, False])}
    pq.write_table(pa.table({**own, **columns}), path)
    return path


def read(path: Path, **given: Any) -> list[dict[str, Any]]:
    wanted: dict[str, Any] = {"columns": COLUMNS, **given}
    return [row for batch in files.table_batches(path, **wanted) for row in batch.to_pylist()]


ROWS = [
    {"name": "a", "labels": ["x", "y"], "flag": True},
    {"name": "b", "labels": [], "flag": False},
]
TEXTS = [
    pa.large_string(),
    pa.string_view(),
    pa.binary(),
    pa.dictionary(pa.int32(), pa.string()),
    pa.dictionary(pa.uint32(), pa.large_string()),
]


@pytest.mark.parametrize("kind", TEXTS, ids=str)
def test_a_text_is_read_from_every_type_of_texts(tmp_path, kind):
    column = pa.array(NAMES).cast(kind)
    assert read(written(tmp_path / "a.parquet", name=column)) == ROWS


@pytest.mark.parametrize(
    "kind",
    [
        pa.large_list(pa.large_string()),
        pa.list_view(pa.string()),
        pa.large_list_view(pa.string_view()),
        pa.list_(pa.dictionary(pa.int32(), pa.string())),
        pa.list_(pa.binary()),
    ],
    ids=str,
)
def test_a_list_is_read_from_every_type_of_lists(tmp_path, kind):
    flat = pa.array(["x", "y"]).cast(kind.value_type)
    column = pa.array([flat.to_pylist(), []], kind)
    assert read(written(tmp_path / "a.parquet", labels=column)) == ROWS


def test_a_list_of_a_fixed_size_is_a_list(tmp_path):
    column = pa.array([["x"], ["y"]], pa.list_(pa.string(), 1))
    found = read(written(tmp_path / "a.parquet", labels=column))
    assert [row["labels"] for row in found] == [["x"], ["y"]]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 0]),
        pa.array([1.0, 0.0]),
        pa.array(["True", "False"]),
        pa.array([True, False]).dictionary_encode(),
    ],
    ids=lambda each: str(each.type),
)
def test_a_flag_is_read_from_numbers_and_words(tmp_path, column):
    assert read(written(tmp_path / "a.parquet", flag=column)) == ROWS


def test_numbers_are_texts_where_texts_are_wanted(tmp_path):
    found = read(written(tmp_path / "a.parquet", name=pa.array([7, 8])))
    assert [row["name"] for row in found] == ["7", "8"]


def test_nulls_stay_nulls(tmp_path):
    path = written(
        tmp_path / "a.parquet",
        name=pa.array([None, "b"], pa.large_string()),
        labels=pa.array([["x", None], None], pa.large_list(pa.large_string())),
        flag=pa.array([None, None]),
    )
    assert read(path) == [
        {"name": None, "labels": ["x", None], "flag": None},
        {"name": "b", "labels": None, "flag": None},
    ]


def test_other_columns_row_groups_and_order_do_not_matter(tmp_path):
    table = pa.table(
        {
            "flag": [True, False],
            "__index_level_0__": [5, 3],
            "when": pa.array([0, 1], pa.timestamp("us")),
            "labels": LABELS,
            "name": NAMES,
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1)
    assert read(tmp_path / "a.parquet") == ROWS


def test_a_column_that_is_optional_may_be_absent(tmp_path):
    found = read(written(tmp_path / "a.parquet"), columns={"name": "text"}, optional={"z": "flag"})
    assert found == [{"name": "a"}, {"name": "b"}]


def test_a_folder_of_files_is_one_table_and_its_folders_are_values(tmp_path):
    for split in ("test", "train"):
        folder = tmp_path / "a.parquet" / f"split={split}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"name": [split[:2]]}), folder / "part-0.parquet")
        (folder / "._part-0.parquet").write_bytes(b"\0\5\26\7")
    found = read(tmp_path / "a.parquet", columns={"name": "text", "split": "text"})
    assert found == [{"name": "te", "split": "test"}, {"name": "tr", "split": "train"}]


def test_an_absent_column_is_named_with_those_that_are_there(tmp_path):
    with pytest.raises(DataError, match="has no column 'split', but name, labels, flag"):
        read(written(tmp_path / "a.parquet"), columns={"split": "text"})


@pytest.mark.parametrize(
    ("name", "column"),
    [("labels", pa.array(["x, y", "x"])), ("flag", pa.array(["perhaps", "no"]))],
)
def test_a_column_that_cannot_be_cast_is_named(tmp_path, name, column):
    with pytest.raises(DataError, match=rf"a\.parquet: column '{name}' has type string"):
        read(written(tmp_path / "a.parquet", **{name: column}))


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"name,labels\n", "copy or download it again"),
    ],
)
def test_a_file_that_is_no_parquet_is_called_what_it_is(tmp_path, data, hint):
    path = tmp_path / "a.parquet"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as Parquet") as caught:
        read(path)
    assert hint in caught.value.hint
