"""The model families that GeoVLM knows: box frame, resize rule, adapter targets.

Sources: the frames are those of the families' own model cards and of ms-swift's
`Custom-dataset.md` (Qwen2.5-VL: pixels after the resize; Qwen2-VL, Qwen3-VL and InternVL: 0-1000).
"""

from __future__ import annotations

from geovlm.api import ModelProfile

_LANGUAGE_LAYERS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"

QWEN2_5_VL = ModelProfile(
    name="qwen2.5-vl",
    model_types=("qwen2_5_vl",),
    box_frame="input_pixels",
    size_factor=28,
    lora_targets=_LANGUAGE_LAYERS,
)
QWEN2_VL = ModelProfile(
    name="qwen2-vl",
    model_types=("qwen2_vl",),
    box_frame="norm1000",
    size_factor=28,
    lora_targets=_LANGUAGE_LAYERS,
)
QWEN3_VL = ModelProfile(
    name="qwen3-vl",
    model_types=("qwen3_vl", "qwen3_vl_moe"),
    box_frame="norm1000",
    size_factor=32,
    min_pixels=65536,
    max_pixels=16777216,
    lora_targets=_LANGUAGE_LAYERS,
)
INTERNVL = ModelProfile(
    name="internvl",
    model_types=("internvl", "internvl_chat"),
    box_frame="norm1000",
    size_factor=28,
    lora_targets=_LANGUAGE_LAYERS,
    vision_module="vision_tower",
)

BUILTIN: tuple[ModelProfile, ...] = (QWEN2_5_VL, QWEN2_VL, QWEN3_VL, INTERNVL)
"""In the order in which they are asked."""


def find(model_type: str) -> ModelProfile | None:
    """Return the built-in profile that serves a `config.model_type`, or `None`."""
    for profile in BUILTIN:
        if model_type in profile.model_types:
            return profile
    return None
