"""Four families in `make test`: SFT, GRPO, evaluation, and what a perfect model earns.

`make test-families` does the same, and more, with all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import fake_plugins
from tests.families import expected, stages
from tests.families.expected import Cell
from tests.families.table import PLUGIN

NAMES = ["qwen3_vl", "qwen3_5", "internvl3_5", "smolvlm2"]
"""Qwen3-VL; Qwen3.5, whose template begins the answer; tiles; and one without its own profile."""


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], stages.Family]:
    """Return a checkpoint, its folder and what is demanded of it."""
    out = tmp_path_factory.mktemp("families")
    (out / "plugins").mkdir()
    fake_plugins.install(out / "plugins", "families", PLUGIN)
    demanded = expected.read()

    def make(name: str) -> stages.Family:
        folder: Path = out / name
        folder.mkdir(exist_ok=True)
        return stages.Family(name, folder, demanded=demanded[name])

    return make


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_step_of_sft_and_one_of_grpo_change_the_model_and_are_scored(
    family: Callable[[str], stages.Family], name: str
) -> None:
    tried = family(name)
    tried.train([stages.SFT, stages.grpo(tried.completions)])
    results = {stage: (cell.result, cell.said) for stage, cell in tried.cells.items()}
    assert results == dict.fromkeys(("sft", "grpo", "evaluation"), (Cell("pass").result, ""))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_correct_answers_earn_the_whole_reward_and_tokens_are_as_said(
    family: Callable[[str], stages.Family], name: str
) -> None:
    family(name).perfect(sizes=60, others=10)
