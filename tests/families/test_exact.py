"""Whole GRPO steps of sharing are those of TRL's trainer, on the tiny checkpoints.

`make test` does the same on smaller models of eight families, in tests/engine/test_grpo_exact.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine import grpo_steps
from tests.families import expected, frames
from tests.families.stages import SMALL

PACKED = (
    *("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "glm4v", "glm4v_moe", "glm46v"),
    "smolvlm2",
)
"""Families whose prompts are computed once for a group. InternVL, Idefics3 and Gemma make hundreds
of tokens of an image and have a large vocabulary, and would take minutes each: `make test` has them
with a small vocabulary."""
ORDINARY = ("qwen3_5", "qwen3_5_moe")
"""Layers of their decoders carry a state, so images alone are shared."""

pytestmark = pytest.mark.families


@pytest.mark.parametrize("name", [*PACKED, *ORDINARY])
def test_a_step_is_that_of_trl(checkpoint: Callable[[str], Path], name: str) -> None:
    folder = checkpoint(name)
    limits = SMALL if frames.has_limits(folder) else ()
    processor, profile = frames.reader(folder, sets=(*limits, *expected.read()[name].set))
    scale = profile.size_factor if profile.resize == "multiples" else 28
    plain = grpo_steps.trained(folder, processor, shared=False, scale=scale)
    shared = grpo_steps.trained(folder, processor, shared=True, scale=scale)
    assert shared.completions == plain.completions
    prompts = len(grpo_steps.ASKED)
    rows = prompts if name in PACKED else prompts * grpo_steps.GENERATIONS
    assert set(shared.rows) == {rows}
    assert grpo_steps.error(shared.log_probs, plain.log_probs) < 1e-5
    assert grpo_steps.error(shared.gradients, plain.gradients) < 1e-5
