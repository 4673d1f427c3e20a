"""The checks of `benchmarks/first_run.py` on verdicts that are written by hand."""

from __future__ import annotations

from typing import Any

from benchmarks import first_run

RAISED = {"difference": 0.06, "ci95": [0.02, 0.1], "p": 0.004}


def a_verdict(outcome: str = "learned", *, beaten: bool = True) -> dict[str, Any]:
    task = {
        "n": 100,
        "stages": {"base": 0.06, "sft": 0.94, "grpo": None},
        "blind": {"name": "text only", "value": 0.18, "p": 0.001, "beaten": beaten},
        "sampled": {"sft": 1.6, "grpo": 1.66, "gain": RAISED},
        "outcome": outcome,
        "sentence": "as it is",
    }
    return {"tasks": {"t/a": task}}


def test_a_row_holds_stages_baseline_and_change() -> None:
    assert first_run.table({3: a_verdict()})[2] == (
        "| 3 | t/a | 100 | 0.060 | 0.940 | - | 0.180 (text only) | 0.001 "
        "| +0.060 (+0.020 to +0.100), p 0.0040 |"
    )


def test_runs_that_show_everything_pass_every_check() -> None:
    found = first_run.checks({0: a_verdict(), 1: a_verdict()}, RAISED)
    assert [each.faults for each in found] == [[], [], []]


def test_a_check_names_the_seed_and_task_that_fail_it() -> None:
    found = {0: a_verdict(beaten=False), 1: a_verdict("below_before")}
    assert [each.faults for each in first_run.checks(found, RAISED | {"p": 0.06})] == [
        ["seed 0, t/a: as it is"],
        ["seed 1, t/a: as it is"],
        ["+0.060 (+0.020 to +0.100), p 0.0600"],
    ]
