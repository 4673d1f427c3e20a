from __future__ import annotations

import re

import pytest

from geovlm.plugins import profiles

QWEN_DECODER = "model.language_model.layers.11.self_attn.q_proj"


def test_families_are_found_by_model_type() -> None:
    assert profiles.find("qwen2_5_vl") is profiles.QWEN2_5_VL
    assert profiles.find("qwen3_vl_moe") is profiles.QWEN3_VL


def test_an_unknown_family_has_no_profile() -> None:
    assert profiles.find("earth_vl") is None


def test_no_model_type_has_two_profiles() -> None:
    types = [kind for profile in profiles.BUILTIN for kind in profile.model_types]
    assert len(types) == len(set(types))


@pytest.mark.parametrize("profile", profiles.BUILTIN, ids=lambda profile: profile.name)
def test_lora_takes_the_decoder_and_leaves_the_vision_tower(profile: object) -> None:
    pattern = re.compile(profile.lora_targets)  # type: ignore[attr-defined]
    assert pattern.fullmatch(QWEN_DECODER)
    assert pattern.fullmatch("model.language_model.layers.0.mlp.down_proj")
    assert not pattern.fullmatch("model.visual.blocks.0.mlp.down_proj")
    assert not pattern.fullmatch("lm_head")


@pytest.mark.parametrize(
    ("profile", "size"),
    [
        (profiles.QWEN2_5_VL, 28),
        (profiles.QWEN2_VL, 28),
        (profiles.QWEN3_VL, 32),
        (profiles.QWEN3_5, 32),
        (profiles.GLM_V, 28),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_pixel_limits_are_whole_numbers_of_tokens(profile: object, size: int) -> None:
    assert profile.size_factor == size  # type: ignore[attr-defined]
    assert profile.min_pixels % size**2 == 0  # type: ignore[attr-defined]
    assert profile.max_pixels % size**2 == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen2_vl", "qwen3_vl", "internvl"])
def test_the_vision_module_and_lora_targets_exist_in_the_model(family: str) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    profile = profiles.find(family)
    assert profile is not None
    config = transformers.CONFIG_MAPPING[family]()
    with torch.device("meta"):
        model = transformers.AutoModelForImageTextToText.from_config(config)
    names = [name for name, _ in model.named_modules()]
    targets = [name for name in names if re.fullmatch(profile.lora_targets, name)]
    assert profile.vision_module in names
    assert len(targets) == 7 * config.get_text_config().num_hidden_layers
