"""A set of tasks: published tables beside our scores, and what is left out."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from geovlm.api import SetEntry
from geovlm.cli import results
from geovlm.score import against, published
from geovlm.score.published import PublishedRow

ENTRIES = [SetEntry(benchmark="Tiles", task="t/a"), SetEntry(benchmark="Floods", task="t/b")]
SCORES = {"n": 10, "metrics": {"accuracy": 0.5}, "counts": {}, "ci95": {}}


def a_row(model: str, benchmark: str, value: float) -> PublishedRow:
    return PublishedRow(
        table="scenes",
        model=model,
        benchmark=benchmark,
        metric="accuracy",
        value=value,
        split="test, 10 tiles",
        protocol="earthdial/classify",
        tasks=(),
        truth="token recall",
        note="",
    )


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    printed = [a_row("One", "Tiles", 0.4), a_row("One", "Floods", 0.3), a_row("Two", "Tiles", 0.6)]
    monkeypatch.setattr(published, "rows", lambda task=None: [*printed, a_row("One", "Fog", 0.1)])
    stage = {"n": 10, "split": "test", "protocol": "earthdial/classify"}
    metrics = {"tasks": {"t/a": {"stages": {"base": stage}}}}
    score = mock.Mock(return_value=SCORES)
    found = against.of_set(ENTRIES, metrics, score, left_out={"t/b": "no folder of it"})
    assert score.call_count == 1
    return found


def test_ours_stands_beside_every_model(rows: list[dict[str, Any]]) -> None:
    tiles = [row for row in rows if row["benchmark"] == "Tiles"]
    assert [(row["model"], row["published"], row["ours"], row["differs"]) for row in tiles] == [
        ("One", 0.4, 0.5, []),
        ("Two", 0.6, 0.5, []),
    ]


def test_a_benchmark_without_data_is_there_with_the_reason(rows: list[dict[str, Any]]) -> None:
    (floods,) = [row for row in rows if row["benchmark"] == "Floods"]
    assert (floods["ours"], floods["n"]) == (None, None)
    assert floods["differs"] == ["t/b is left out: no folder of it"]


def test_a_benchmark_that_the_set_does_not_have_is_not_there(rows: list[dict[str, Any]]) -> None:
    assert {row["benchmark"] for row in rows} == {"Tiles", "Floods"}


def test_a_printed_table_has_a_line_per_benchmark_and_a_column_per_model(
    rows: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    results.print_tables(rows)
    assert capsys.readouterr().out.splitlines() == [
        "",
        "scenes: token recall",
        "benchmark\tmetric\tOne\tTwo\tours\tn\tdiffers",
        "Tiles\taccuracy\t40.00\t60.00\t50.00\t10\t-",
        "Floods\taccuracy\t30.00\t-\t-\t-\t1",
        "",
        "1: t/b is left out: no folder of it",
    ]
