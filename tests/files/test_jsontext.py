from __future__ import annotations

import json
import math

import pytest

from geovlm.files import jsontext
from geovlm.run.files import JsonLines, write_json

NOT_FINITE = {"gsd": math.nan, "least": -math.inf, "all": [1.5, (math.inf, 2)], math.nan: "key"}
EXPECTED = {"gsd": None, "least": None, "all": [1.5, [None, 2]], "null": "key"}


def refuse(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def strict(text: str) -> object:
    """Read as JavaScript, jq and DuckDB do."""
    return json.loads(text, parse_constant=refuse)


def test_a_number_that_is_not_finite_becomes_null() -> None:
    assert strict(jsontext.dumps(NOT_FINITE)) == EXPECTED


def test_lines_are_documents_of_their_own() -> None:
    first, second = jsontext.lines([{"a": math.nan}, {"a": "\n"}]).splitlines()
    assert (strict(first), strict(second)) == ({"a": None}, {"a": "\n"})


def test_finite_values_are_written_as_json_writes_them() -> None:
    value = {"b": [1, 2.5, "ä\u2028", None, True], "a": {"x": 1e300}}
    assert jsontext.dumps(value, sort_keys=True) == json.dumps(value, sort_keys=True)


def test_a_value_that_is_no_json_stays_an_error() -> None:
    with pytest.raises(TypeError):
        jsontext.dumps({"a": object()})


def test_every_writer_of_a_run_writes_null(tmp_path) -> None:
    write_json(tmp_path / "a.json", NOT_FINITE)
    JsonLines(tmp_path / "a.jsonl").append([NOT_FINITE])
    assert strict((tmp_path / "a.json").read_text(encoding="utf-8")) == EXPECTED
    assert strict((tmp_path / "a.jsonl").read_text(encoding="utf-8")) == EXPECTED


def test_a_name_that_is_not_utf8_is_read_back(tmp_path) -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    write_json(tmp_path / "a.json", {"image": name, "place": "Straße"})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "Straße" in text
    assert strict(text) == {"image": name, "place": "Straße"}
