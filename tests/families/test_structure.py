"""What is found in the models of every family: tower, adapters, patches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from geovlm.api import ModelProfile
from geovlm.engine.models import sizes, structure
from geovlm.engine.models.processor import load_processor
from geovlm.engine.programs import shape
from tools.families.checkpoints import CHECKPOINTS

Build = Callable[[str], Path]
PROFILE = ModelProfile(name="mine", model_types=(), box_frame="norm1000")
QUICK = ("qwen3_vl", "internvl3_5")
RATIOS = {
    # patches of the tower that become one token: merged 2 x 2, in two frames of a video
    "qwen3_vl": 2 * 4,
    **dict.fromkeys(("internvl3", "internvl3_5", "idefics3"), 4),
    **dict.fromkeys(("gemma3", "smolvlm2", "minicpmv4_6"), 16),  # 4 x 4
    "gemma4": 2520 / 256,  # 3 x 3, of 280 tokens with padding
    "llava_onevision": 10 * (384 / 14) ** 2 / 7371,  # ten tiles, and a token at the end of a row
}


def every(names: Iterable[str]) -> list[Any]:
    """Return names of checkpoints; those beyond `QUICK` are of `make test-families`."""
    marks = [pytest.mark.families]
    return [pytest.param(name, marks=[] if name in QUICK else marks) for name in names]


@pytest.mark.parametrize("name", every(RATIOS))
def test_the_patches_of_a_token_are_those_of_the_processor(checkpoint: Build, name: str) -> None:
    folder = checkpoint(name)
    config = AutoConfig.from_pretrained(folder)
    processor: Any = load_processor(str(folder))
    found = sizes.patches_per_token(
        processor,
        token_id=getattr(config, "image_token_id", None) or processor.image_token_id,
        patch=shape.patch_of(config),
    )
    assert found == pytest.approx(RATIOS[name])


@pytest.mark.parametrize("name", every(CHECKPOINTS))
def test_adapters_reach_nearly_all_of_the_decoder(checkpoint: Build, name: str) -> None:
    model = shape.empty(AutoConfig.from_pretrained(checkpoint(name)))
    found = shape.of_model(model, PROFILE)
    assert found.adapted / found.text.parameters > 0.98
    assert model.get_submodule(structure.tower(model, PROFILE)) is not None
