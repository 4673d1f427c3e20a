"""Holds the profiles of the built-in model families: frame of boxes, limits of image size.

The frames are those of the families' model cards and of ms-swift's `Custom-dataset.md`; the pixel
limits those of the published `preprocessor_config.json`, not the smaller defaults in the signatures
of transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

from geovlm.api import BoxFrame, BoxOrder, Json, ModelProfile

QWEN2_5_VL = ModelProfile(
    name="qwen2.5-vl",
    model_types=("qwen2_5_vl",),
    box_frame="input_pixels",
    size_factor=28,
    min_pixels=4 * 28 * 28,
    max_pixels=16384 * 28 * 28,
)
"""Boxes in pixels of the image after the resize."""

QWEN2_VL = replace(QWEN2_5_VL, name="qwen2-vl", model_types=("qwen2_vl",), box_frame="norm1000")
"""Boxes in thousandths of width and height."""

QWEN3_VL = replace(
    QWEN2_VL,
    name="qwen3-vl",
    model_types=("qwen3_vl", "qwen3_vl_moe"),
    size_factor=32,
    min_pixels=64 * 32 * 32,
    max_pixels=16384 * 32 * 32,
)
"""Boxes in thousandths of width and height; patches of 16 px, merged 2 x 2."""

QWEN3_5 = replace(QWEN3_VL, name="qwen3.5", model_types=("qwen3_5", "qwen3_5_moe"))
"""As Qwen3-VL, whose processor it has; the frame is that of ms-swift's template of Qwen3.5."""

GLM_V = ModelProfile(
    name="glm-v",
    model_types=("glm4v", "glm4v_moe", "glm46v"),
    box_frame="norm1000",
    size_factor=28,
    min_pixels=112 * 112 // 2,
    max_pixels=6144 * 28 * 28,
)
"""Boxes in thousandths of width and height: zai-org/GLM-V, skill `glmv-grounding`. The limits that
its processor states, 112 x 112 and 2 x 6144 x 28 x 28, count the two frames of a video's patch."""

INTERNVL = ModelProfile(
    name="internvl",
    model_types=("internvl",),
    box_frame="norm1000",
    size_factor=448,
    cell_tokens=256,
    min_pixels=448 * 448,
    max_pixels=12 * 448 * 448,
)
"""Boxes in thousandths. Images become up to 12 tiles of 448 px: the input size is approximate."""

BUILTIN: tuple[ModelProfile, ...] = (
    QWEN2_5_VL,
    QWEN2_VL,
    QWEN3_VL,
    QWEN3_5,
    GLM_V,
    INTERNVL,
)
"""The built-in profiles, in the order in which they are tried."""


def to_record(profile: ModelProfile) -> dict[str, Json]:
    """Return the fields of a record that say how the boxes of its completion are to be read."""
    return {
        "profile": profile.name,
        "box_frame": profile.box_frame,
        "box_order": profile.box_order,
        "box_angle": profile.box_angle,
    }


def of_record(record: Mapping[str, Any]) -> ModelProfile | None:
    """Return the profile in whose frame the boxes of a record are; `None` if it does not say.

    A record with no `box_frame` field has that of the built-in profile of its name.
    """
    name = record.get("profile")
    built_in = next((each for each in BUILTIN if each.name == name), None)
    if "box_frame" not in record or not isinstance(name, str):
        return built_in
    frame, order = record["box_frame"], record.get("box_order", "xyxy")
    if frame not in [None, *get_args(BoxFrame)] or order not in get_args(BoxOrder):
        return None
    return ModelProfile(
        name=name,
        model_types=built_in.model_types if built_in else (),
        box_frame=frame,
        box_order=order,
        box_angle=record.get("box_angle") is True,
    )


def find(model_type: str) -> ModelProfile | None:
    """Return the built-in profile of a `model_type` of `config.json`, such as `qwen2_5_vl`."""
    return next((profile for profile in BUILTIN if model_type in profile.model_types), None)
