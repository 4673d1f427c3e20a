"""Published rows beside ours: the value by their protocol, and every reason not to compare."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from geovlm.score import against, published
from geovlm.score.published import PublishedRow


def a_row(**fields: Any) -> PublishedRow:
    values: dict[str, Any] = {
        "table": "vqa",
        "model": "Somebody",
        "benchmark": "RSVQA",
        "metric": "presence",
        "value": 0.9,
        "split": "test, 1,093 questions",
        "protocol": "earthdial/vqa",
        "tasks": ("t/a",),
        "truth": "exact words",
        "note": "",
    }
    return PublishedRow(**(values | fields))


SCORED = {
    "protocol": "earthdial/vqa",
    "n": 2000,
    "metrics": {"presence": 0.7, "comp": 0.6},
    "counts": {"presence": 1093, "comp": 907},
    "ci95": {"presence": [0.65, 0.75]},
}


def rows(row: PublishedRow, *, scores: Any = SCORED, **options: Any) -> list[dict[str, Any]]:
    stages = {
        "base": {"n": 1, "split": "val", "protocol": ""},
        "grpo": {"n": 2000, "split": "test", "protocol": "earthdial/vqa"},
    }
    metrics = {"tasks": {"t/a": {"primary": "accuracy", "stages": stages}}}
    with mock.patch.object(published, "rows", lambda task: [row]):
        return against.rows(metrics, lambda *asked: scores, **options)


def test_the_last_stage_stands_beside_the_published_row() -> None:
    (found,) = rows(a_row())
    assert found["stage"] == "grpo"
    assert (found["published"], found["ours"], found["n"]) == (0.9, 0.7, 1093)
    assert found["ci95"] == [0.65, 0.75]
    assert found["differs"] == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"split": "test, 100 questions"}, "split: theirs test, 100 questions; ours test, 1093"),
        ({"split": "val, 1,093 questions"}, "split: theirs val"),
        ({"split": "size not published"}, "split: theirs size not published"),
        ({"protocol": "earthdial/classify"}, "protocol: theirs earthdial/classify; our task has"),
        ({"note": "rotated boxes"}, "rotated boxes"),
    ],
)
def test_a_difference_is_said(fields: dict[str, str], reason: str) -> None:
    (found,) = rows(a_row(**fields))
    assert len(found["differs"]) == 1
    assert found["differs"][0].startswith(reason)


def test_a_score_that_we_do_not_have_says_why() -> None:
    (found,) = rows(a_row(metric="count"))
    assert found["ours"] is None
    assert found["differs"] == ["no such score of ours: earthdial/vqa gives our answers no 'count'"]


def test_a_protocol_that_does_not_fit_says_why() -> None:
    unavailable = {"protocol": "earthdial/vqa", "unavailable": "target.answer is missing"}
    (found,) = rows(a_row(), scores=unavailable)
    assert found["differs"] == ["no such score of ours: target.answer is missing"]


def test_generated_data_cannot_be_compared() -> None:
    (found,) = rows(a_row(), generated=True)
    assert found["differs"] == ["our data are generated, not the benchmark"]


def test_skipped_records_and_notes_are_reasons_not_to_compare() -> None:
    scores = SCORED | {
        "lines": 2003,
        "skipped": {"no reference caption": 3},
        "notes": ["half read"],
    }
    (found,) = rows(a_row(), scores=scores)
    assert found["differs"] == ["3 of our 2003 records are skipped", "half read"]


def test_a_score_that_is_left_out_says_why() -> None:
    scores = SCORED | {"left_out": {"rougeL": "reads a to z only"}}
    (found,) = rows(a_row(metric="rougeL"), scores=scores)
    assert found["ours"] is None
    assert found["differs"] == ["no such score of ours: it reads a to z only"]
