"""The `trainer` tables are checked against TRL before a step is made."""

from __future__ import annotations

from typing import Any

import pytest

from geovlm.engine.training import arguments
from geovlm.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"learning_rate": "fast"}, r"stages\.0\.trainer\.learning_rate: .*number, not 'fast'"),
        ({"logging_steps": [5]}, r"stages\.0\.trainer\.logging_steps: .*not \[5\]"),
        ({"learning_rat": 1e-4}, r"unknown key 'learning_rat' \(did you mean 'learning_rate'\?\)"),
    ],
)
def test_a_wrong_trainer_argument_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        arguments.check("sft", given, path="stages.0.trainer")


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("sft", {"learning_rate": 1, "lr_scheduler_type": "cosine", "warmup_steps": 0.03}),
        ("grpo", {"num_generations": 8, "beta": 0.04, "generation_kwargs": {"top_k": 5}}),
    ],
)
def test_right_trainer_arguments_pass(kind: str, given: dict[str, Any]) -> None:
    arguments.check(kind, given, path="stages.0.trainer")
