from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from geovlm import files
from geovlm.errors import DataError
from geovlm.files import records, streams

VALUE = {"name": "Köln", "numbers": [1, 2]}
TEXT = json.dumps(VALUE, ensure_ascii=False)


def written(folder: Path, data: bytes) -> Path:
    path = folder / "labels.json"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "form", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_json_is_read_in_every_encoding_of_unicode(tmp_path, form):
    assert files.read_json(written(tmp_path, TEXT.encode(form))) == VALUE


@pytest.mark.parametrize("form", ["utf-8", "utf-8-sig", "utf-16"])
def test_lines_are_read_in_every_encoding_and_with_both_line_ends(tmp_path, form):
    path = written(tmp_path, f"{TEXT}\r\n\r\n[1]\n".encode(form))
    assert list(files.json_lines(path)) == [(1, VALUE), (3, [1])]


@pytest.mark.parametrize("form", ["utf-8", "utf-8-sig", "utf-16"])
def test_an_array_is_read_in_every_encoding(tmp_path, form):
    assert list(files.json_array(written(tmp_path, f" [{TEXT}, 2]".encode(form)))) == [VALUE, 2]


@pytest.mark.parametrize("form", ["utf-8", "utf-8-sig", "utf-16"])
def test_toml_is_read_in_every_encoding(tmp_path, form):
    path = written(tmp_path, 'tasks = ["xbd"]\r\n[data.xbd]\r\nroot = "ä"\r\n'.encode(form))
    assert records.read_toml(path) == {"tasks": ["xbd"], "data": {"xbd": {"root": "ä"}}}


@pytest.mark.parametrize("form", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("text", ["a,b\nc,d\n", 'a;b\r\n\r\n"c" ; d', "a\tb\nc\td", "a, b \n c,d"])
def test_rows_of_csv_are_read_whatever_separates_them(tmp_path, form, text):
    path = written(tmp_path, text.encode(form))
    assert list(files.csv_rows(path)) == [["a", "b"], ["c", "d"]]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is empty (0 bytes)"),
        (gzip.compress(b"{}", mtime=0), "is compressed (gzip)"),
        (b"PK\x03\x04rest", "is a ZIP archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a pointer of Git LFS"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (bytes(64), "holds zero bytes only"),
        (b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X", "holds attributes of macOS"),
    ],
)
def test_a_file_of_another_kind_is_called_what_it_is(tmp_path, data, problem):
    path = written(tmp_path, data)
    for read in (files.read_json, files.read_text, lambda each: list(files.json_array(each))):
        with pytest.raises(DataError) as caught:
            read(path)
        assert str(path) in caught.value.args[0]
        assert problem in caught.value.args[0]
        assert caught.value.hint


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b'{"a": 1,\n "b": }', "line 2, column 7: not JSON: expecting value"),
        (b'{"a": 1,\n "b": "\xe9"}', "line 2, column 8: byte 0xe9 is not UTF-8"),
        (b'{"a": [1, 2', "line 1, column 12: not JSON: expecting ',' delimiter"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
    ],
)
def test_a_fault_names_its_place_and_reason(tmp_path, data, place):
    with pytest.raises(DataError) as caught:
        files.read_json(written(tmp_path, data))
    assert place in caught.value.args[0]
    assert caught.value.args[0].startswith(str(tmp_path / "labels.json"))


def test_a_file_that_ends_too_early_is_told_from_a_wrong_one(tmp_path):
    with pytest.raises(DataError) as cut:
        files.read_json(written(tmp_path, b'{"a": [1, 2'))
    with pytest.raises(DataError) as wrong:
        files.read_json(written(tmp_path, b'{"a" 1}'))
    assert ("cut off" in cut.value.hint, "cut off" in wrong.value.hint) == (True, False)


@pytest.mark.parametrize("name", [".", "absent.json"])
def test_a_path_that_cannot_be_opened_is_named(tmp_path, name):
    for read in (files.read_json, lambda path: list(files.json_lines(path))):
        with pytest.raises(DataError, match=r"Is a directory|No such file"):
            read(tmp_path / name)


def test_a_line_that_is_not_json_costs_one_line(tmp_path):
    left_out: list[tuple[str, str]] = []
    path = written(tmp_path, b'1\n{"a"\n"\xe9"\n4\n')
    found = list(files.json_lines(path, skip=lambda *what: left_out.append(what)))
    assert found == [(1, 1), (4, 4)]
    assert [reason for reason, _ in left_out] == ["line is not JSON"] * 2
    assert "line 2, column 5" in left_out[0][1]
    assert "line 3, column 2: byte 0xe9 is not UTF-8" in left_out[1][1]


def test_without_skip_a_line_that_is_not_json_is_an_error(tmp_path):
    with pytest.raises(DataError, match="line 2, column 2"):
        list(files.json_lines(written(tmp_path, b"1\n{\n")))


def test_an_element_of_an_array_may_cross_the_parts_that_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "_CHUNK", 7)
    values = [{"a": "x" * 30}, {"b": [1, 2, {"c": "]"}]}, {}]
    path = written(tmp_path, json.dumps(values, indent=1).encode())
    assert list(files.json_array(path)) == values


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[{"a": 1},\n{"a" 2}]', "line 2, column 6: not JSON"),
        ('[{"a": 1},\n{"a": 2', "line 2, column 8: not JSON"),
        ('{"data": []}', "is not a JSON array, it begins with '{\"data\": []}'"),
    ],
)
def test_a_fault_of_an_array_names_its_place(tmp_path, text, place):
    with pytest.raises(DataError) as caught:
        list(files.json_array(written(tmp_path, text.encode())))
    assert place in caught.value.args[0]


@pytest.mark.parametrize("form", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_holds_quoted_separators_and_line_breaks(tmp_path, form, end):
    text = end.join(["a,b", '"x, ""y""', 'z",1', "", "c,2"])
    rows = list(records.csv_table(written(tmp_path, text.encode(form))))
    assert rows == [(1, ["a", "b"]), (2, ['x, "y"\nz', "1"]), (5, ["c", "2"])]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b'a,b\nc,"d\ne,f\n', r"labels\.json:2: not CSV: unexpected end of data"),
        (b'a,b\n"c"d,e\n', r"labels\.json:2: not CSV: ',' expected after '\"'"),
        (b"a,b\nc,\xe9\n", r"labels\.json, line 2, column 3: byte 0xe9 is not UTF-8"),
    ],
)
def test_a_fault_of_a_table_names_file_and_line(tmp_path, data, problem):
    with pytest.raises(DataError, match=problem):
        list(records.csv_table(written(tmp_path, data)))


def test_a_table_with_the_line_ends_of_old_macs_is_read(tmp_path):
    rows = list(records.csv_table(written(tmp_path, b"a;b\rc;d\r")))
    assert [fields for _, fields in rows] == [["a", "b"], ["c", "d"]]


def test_members_of_an_object_are_read_one_after_another(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "_CHUNK", 5)
    text = '{"a": [1, {"b": 22}], "n": 12345, "left": [[3], [4]], "c": {"d": [5]}, "e": []}'
    found = []
    for key, value in streams.json_members(written(tmp_path, text.encode())):
        found.append((key, value if key in ("n", "c", "left") else list(value)))
    assert [(key, value) for key, value in found if key != "left"] == [
        ("a", [1, {"b": 22}]),
        ("n", 12345),
        ("c", {"d": [5]}),
        ("e", []),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1]", "is not a JSON object, it begins with"),
        ('{"a": [1, 2', "cut off"),
        ('{"a": 1', "line 1, column 8: not JSON"),
        ('{"a" 1}', "line 1: not JSON: no key"),
    ],
)
def test_a_fault_of_an_object_is_named(tmp_path, text, problem):
    with pytest.raises(DataError) as caught:
        for _, value in streams.json_members(written(tmp_path, text.encode())):
            list(value) if not isinstance(value, int) else None
    assert problem in f"{caught.value} {caught.value.hint}"
