"""A perfect model keeps format rewards and boxes on its way through a real tokenizer.

`make test-families` does the same for every family with 1,000 sizes in its own frame.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from geovlm import boxes
from geovlm.api import PromptContext
from geovlm.boxes import NOTATIONS
from geovlm.engine.rows import tokens
from geovlm.plugins import profiles
from tests.families import frames

SIZE = (1000, 500)
CTX = PromptContext(profile=profiles.QWEN3_VL, image_sizes=(SIZE,), input_sizes=(SIZE,))


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_5", "internvl3_5"])
def test_a_correct_answer_survives_its_tokenizer(
    checkpoint: Callable[[str], Path], name: str
) -> None:
    # pixels after the resize; <think> opened by the template; tiles
    frames.boxes_survive(checkpoint(name), sets=(), sizes=60, others=10, made=0)


@pytest.mark.parametrize(
    ("name", "notation"),
    [
        ("qwen3_vl", "bbox_2d"),
        ("qwen3_vl", "points"),  # its marks are special tokens: the numbers stay
        ("internvl3_5", "box tag, lists"),  # likewise
        ("glm4v", "box of GLM"),  # its marks are ordinary tokens
    ],
)
def test_what_a_family_writes_by_itself_is_read(
    checkpoint: Callable[[str], Path], name: str, notation: str
) -> None:
    processor, _ = frames.reader(checkpoint(name))
    text = next(each.example for each in NOTATIONS if each.name == notation)
    ids = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    (said,) = tokens.texts(processor, [ids])
    assert boxes.parse(said, CTX) == boxes.parse(text, CTX) != ()
