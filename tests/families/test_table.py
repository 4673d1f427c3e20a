"""The table of `make test-families`: expected.toml is what it demands, and no omission passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.families import expected, products
from tests.families.expected import BEHIND_PLAN, STAGES, Cell, Expected
from tools.families import checkpoints

PASSED = {stage: Cell("pass", 1.0) for stage in STAGES}


def test_every_checkpoint_has_its_expectation() -> None:
    assert list(expected.read()) == list(checkpoints.CHECKPOINTS)


def test_a_checkpoint_that_passes_everything_differs_in_nothing() -> None:
    assert list(expected.differences("a", PASSED, Expected())) == []


@pytest.mark.parametrize(
    "cell",
    [Cell("refused", 0, "no"), Cell("failed", 0, "no"), Cell("not reached", 0, "no")],
    ids=lambda cell: cell.result,
)
def test_a_stage_that_does_not_pass_is_told(cell: Cell) -> None:
    found = list(expected.differences("a", PASSED | {"sft": cell}, Expected()))
    assert found == [f"a sft: {cell.result}: no"]


def test_a_stage_without_a_result_has_not_passed() -> None:
    cells = {stage: cell for stage, cell in PASSED.items() if stage != "grpo"}
    assert list(expected.differences("a", cells, Expected())) == ["a grpo: not reached: "]


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (Cell("pass"), "pass: "),
        (Cell("refused", 0, "the disk is full"), "refused: the disk is full"),
        (Cell("failed", 0, "TRL does not pass it"), "failed: TRL does not pass it"),
    ],
    ids=["passes", "another reason", "late"],
)
def test_only_the_named_refusal_will_do(cell: Cell, said: str) -> None:
    demanded = Expected(refused={"grpo": "TRL"})
    found = list(expected.differences("a", PASSED | {"grpo": cell}, demanded))
    assert found == [f"a grpo: not refused by 'TRL', but {said}"]


def test_the_named_refusal_is_as_demanded() -> None:
    cells = PASSED | {"grpo": Cell("refused", 0, "TRL 1.16 does not pass it")}
    assert list(expected.differences("a", cells, Expected(refused={"grpo": "TRL"}))) == []


def test_a_refused_plan_refuses_all_that_follows() -> None:
    refused = {name: each.refused for name, each in expected.read().items()}["paligemma2"]
    assert set(BEHIND_PLAN) <= refused.keys()


def test_the_table_has_a_line_per_checkpoint_and_a_note_per_reason() -> None:
    cells = PASSED | {"plan": Cell("refused", 0, "no template"), "sft": Cell("not reached")}
    lines = expected.markdown({"a": cells}).splitlines()
    assert lines[2].startswith("| `a` | 1 s | 1 s | refused (1) | not reached | 1 s |")
    assert lines[4] == "(1) no template  "


def test_cells_are_read_as_they_were_written(tmp_path: Path) -> None:
    expected.write(tmp_path / "cells.json", PASSED)
    assert expected.cells_of(tmp_path / "cells.json") == PASSED
    assert expected.cells_of(tmp_path / "none.json") == {}


def test_a_completion_without_the_beginning_is_missing() -> None:
    products.begun([{"completion": "<think>\nA road."}], "<think>\n")
    with pytest.raises(products.Missing, match=r"a completion begins with 'A road\.'"):
        products.begun([{"completion": "A road."}], "<think>\n")
    with pytest.raises(products.Missing, match="a completion is empty"):
        products.begun([{"completion": "<think>\n"}], "<think>\n")
