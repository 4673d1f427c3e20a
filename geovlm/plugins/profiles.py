"""Holds the profiles of the built-in model families: frame of boxes, limits of image size.

A profile holds what cannot be found in the checkpoint. `GENERIC` serves every other chat model of
transformers. A docstring names the source of the frame, and `docs/models.md` prints it; "not
checked" marks a statement that was not read at its source. Where no source names a frame it is
`None`, and the user states it. The pixel limits are those of the published
`preprocessor_config.json`, not the smaller defaults in the signatures of transformers.
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
"""Boxes in pixels of the image after the resize: QwenLM/Qwen3-VL#931, and the cookbook of
Qwen2.5-VL."""

QWEN2_VL = replace(QWEN2_5_VL, name="qwen2-vl", model_types=("qwen2_vl",), box_frame="norm1000")
"""Boxes in thousandths of width and height: model card of Qwen2-VL (not checked)."""

QWEN3_VL = replace(
    QWEN2_VL,
    name="qwen3-vl",
    model_types=("qwen3_vl", "qwen3_vl_moe"),
    size_factor=32,
    min_pixels=64 * 32 * 32,
    max_pixels=16384 * 32 * 32,
)
"""Boxes in thousandths of width and height: QwenLM/Qwen3-VL, `cookbooks/2d_grounding.ipynb`."""

QWEN3_5 = replace(QWEN3_VL, name="qwen3.5", model_types=("qwen3_5", "qwen3_5_moe"))
"""Boxes as those of Qwen3-VL, whose processor it has: ms-swift's template of Qwen3.5."""

QWEN4_EXP = replace(QWEN3_5, name="qwen4-exp", model_types=("qwen4_exp",), box_frame=None)
"""The processor is that of Qwen3-VL; no statement about boxes was found."""

GLM_V = ModelProfile(
    name="glm-v",
    model_types=("glm4v", "glm4v_moe", "glm46v"),
    box_frame="norm1000",
    size_factor=28,
    min_pixels=112 * 112 // 2,
    max_pixels=6144 * 28 * 28,
    limit_frames=2,
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
    resize="processor",
)
"""Boxes in thousandths of width and height: documentation of InternVL (not checked). The processor
makes up to 12 tiles of 448 px, and a thumbnail."""

GENERIC = ModelProfile(
    name="generic",
    model_types=(),
    box_frame=None,
    resize="processor",
)
"""Any other chat model of transformers. The checkpoint tells everything but the frame of boxes."""

SERVED = ModelProfile(
    name="served",
    model_types=(),
    box_frame=None,
    size_factor=1,
    cell_tokens=0,
    min_pixels=1,
    max_pixels=1024 * 1024,
)
"""A model behind an endpoint of which nothing is known: images are sent at the size that they have,
up to a square of 1024 pixels, and their tokens are not counted."""

GEMMA3 = replace(GENERIC, name="gemma-3", model_types=("gemma3",))
"""The Gemini API writes y0, x0, y1, x1 in thousandths; Google does not confirm this for Gemma 3:
google/gemma-3-4b-it, discussion 38."""

GEMMA4 = replace(GENERIC, name="gemma-4", model_types=("gemma4",))
"""No page of Google that was read states frame and order. Those of the Gemini API are likely:
y0, x0, y1, x1 in thousandths."""

LLAVA_ONEVISION = replace(
    GENERIC, name="llava-onevision", model_types=("llava_onevision",), box_frame="norm1"
)
"""Boxes in shares of width and height: training data of LLaVA-NeXT (not checked)."""

SMOLVLM = replace(GENERIC, name="smolvlm", model_types=("smolvlm",))
"""No statement about boxes was found."""

IDEFICS3 = replace(GENERIC, name="idefics3", model_types=("idefics3",))
"""No statement about boxes was found."""

BUILTIN: tuple[ModelProfile, ...] = (
    QWEN2_5_VL,
    QWEN2_VL,
    QWEN3_VL,
    QWEN3_5,
    QWEN4_EXP,
    GLM_V,
    INTERNVL,
    GEMMA3,
    GEMMA4,
    LLAVA_ONEVISION,
    SMOLVLM,
    IDEFICS3,
)
"""The built-in profiles, in the order in which they are tried."""

FRAMES: tuple[ModelProfile, ...] = (QWEN2_5_VL, QWEN2_VL, LLAVA_ONEVISION)
"""One built-in profile for each frame and order of boxes that a family is known to write."""


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


def generic(model_type: str) -> ModelProfile:
    """Return the profile of a chat model of transformers that has none of its own."""
    return replace(GENERIC, name=model_type.replace("_", "-"), model_types=(model_type,))
