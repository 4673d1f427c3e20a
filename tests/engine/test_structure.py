"""The parts of a model, found in tiny models of the families' own classes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from torch import nn

from geovlm.api import ModelProfile
from geovlm.engine.models import structure
from geovlm.errors import ConfigError
from tests.engine import tiny

PROFILE = ModelProfile(name="mine", model_types=(), box_frame="norm1000")
ATTENTION, NETWORK = 4, 3
"""Linear layers: queries, keys, values, output; gate, up, down."""


@pytest.mark.parametrize(
    ("family", "tower", "linears", "experts"),
    [
        ("qwen2_5_vl", "model.visual", 2 * (ATTENTION + NETWORK), 0),
        ("qwen3_vl", "model.visual", 2 * (ATTENTION + NETWORK), 0),
        ("qwen3_vl_moe", "model.visual", 2 * ATTENTION, 2 * 2),  # gate and up in one, down
        # one of the two layers has a gated delta net: qkv, z, a, b, output
        ("qwen3_5", "model.visual", 5 + ATTENTION + 2 * NETWORK, 0),
        ("qwen3_5_moe", "model.visual", 5 + ATTENTION + 2 * NETWORK, 2 * 2),  # the shared expert
        ("glm4v", "model.visual", 2 * (ATTENTION + 2), 0),  # gate and up in one layer
        ("glm4v_moe", "model.visual", 2 * (ATTENTION + NETWORK), 2),  # the first layer is dense
        ("gemma3", "model.vision_tower", 2 * (ATTENTION + NETWORK), 0),
        ("gemma4", "model.vision_tower", 2 * (ATTENTION + NETWORK), 0),
        ("internvl", "model.vision_tower", 2 * (ATTENTION + NETWORK), 0),
        ("smolvlm", "model.vision_model", 2 * (ATTENTION + NETWORK), 0),
    ],
)
def test_tower_and_targets_are_found_in_the_model(
    family: str, tower: str, linears: int, experts: int
) -> None:
    model = tiny.model(family, device="meta")
    names, parameters = structure.targets(model)
    assert structure.tower(model, PROFILE) == tower
    assert (len(names), len(parameters)) == (linears, experts)
    assert all(isinstance(model.get_submodule(name), nn.Linear) for name in names)
    assert not any(name.startswith(tower) or "lm_head" in name for name in names)


def test_a_router_gets_no_adapter() -> None:
    model: Any = tiny.model("qwen3_5_moe", device="meta")
    gate = "model.language_model.layers.0.mlp.shared_expert_gate"
    names, parameters = structure.targets(model)
    assert isinstance(model.get_submodule(gate), nn.Linear)
    assert gate not in names
    assert not any("mlp.gate" in name for name in names + parameters)


def test_the_tower_of_another_input_is_found_too() -> None:
    assert structure.other_towers(tiny.model("gemma4", device="meta")) == ["model.audio_tower"]
    assert structure.other_towers(tiny.model("gemma3", device="meta")) == []


def test_a_profile_can_name_the_tower() -> None:
    model = tiny.model("internvl", device="meta")
    profile = replace(PROFILE, vision_module="model.vision_tower.encoder")
    assert structure.tower(model, profile) == "model.vision_tower.encoder"


def test_a_tower_that_the_profile_names_and_the_model_lacks_is_refused() -> None:
    model = tiny.model("internvl", device="meta")
    with pytest.raises(ConfigError, match=r"'model.visual', which InternVLForConditional.*leave"):
        structure.tower(model, replace(PROFILE, vision_module="model.visual"))


def test_a_model_without_a_tower_is_refused_with_the_key_to_set() -> None:
    model = tiny.model("gemma3", device="meta")
    del model.model.vision_tower  # type: ignore[union-attr, operator]
    with pytest.raises(ConfigError, match=r"vision_config.*\(set vision_module of the profile"):
        structure.tower(model, PROFILE)


def test_a_model_that_is_loaded_returns_no_router_logits() -> None:
    model = tiny.model("qwen3_vl_moe", device="meta")
    model.config.get_text_config().output_router_logits = True
    structure.drop_router_logits(model)
    assert model.config.get_text_config().output_router_logits is False
