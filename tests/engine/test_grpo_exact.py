"""Whole GRPO steps of sharing are those of TRL's trainer, family by family, on tiny models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForImageTextToText, ProcessorMixin

from geovlm import nano
from geovlm.engine.models.processor import load_processor, take_as_sized
from tests.engine import grpo_steps, small
from tools.families import glm, parts, qwen, qwen3_5

NANO = json.loads((nano.path() / "config.json").read_text())
IDS = {
    name: NANO[name]
    for name in (
        "image_token_id",
        "video_token_id",
        "vision_start_token_id",
        "vision_end_token_id",
    )
}
SMALL = {
    "vocab_size": NANO["text_config"]["vocab_size"],
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": None,
}
ROPE = parts.rope(1e4, mrope_section=[2, 3, 3], mrope_interleaved=True)
PATCH = {"patch_size": NANO["vision_config"]["patch_size"]}
PATCHES = {**PATCH, "num_position_embeddings": 64}
FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "qwen3_vl": {
        "text_config": {**parts.TEXT, **SMALL, "head_dim": 16, "rope_parameters": ROPE},
        # features of the first block are added behind the first layer of the decoder
        "vision_config": {**qwen.VISION_3, **PATCHES, "deepstack_visual_indexes": [0]},
    },
    "qwen3_vl_moe": {
        "text_config": {
            **parts.TEXT,
            **SMALL,
            **parts.mixture(),
            "head_dim": 16,
            "rope_parameters": ROPE,
        },
        "vision_config": {**qwen.VISION_3, **PATCHES, "deepstack_visual_indexes": [0]},
    },
    "glm4v": {"text_config": {**glm.TEXT, **SMALL}, "vision_config": {**glm.VISION, **PATCH}},
    "qwen3_5": {
        "text_config": {**qwen3_5.text(), **SMALL},
        "vision_config": {**qwen.VISION_3, **PATCHES},
    },
}


def a_model(family: str, folder: Path) -> None:
    torch.manual_seed(0)
    config = transformers.CONFIG_MAPPING[family](**FAMILIES[family], **IDS)
    AutoModelForImageTextToText.from_config(config, dtype=torch.float32).save_pretrained(folder)


@pytest.fixture(scope="module")
def processor() -> ProcessorMixin:
    loaded = load_processor(str(nano.path()))
    take_as_sized(loaded)
    return loaded


@pytest.mark.parametrize(
    ("family", "options", "rows"),
    [
        ("qwen3_vl", {"lora": True, "checkpointing": True}, 2),
        ("qwen3_vl_moe", {}, 2),
        ("glm4v", {}, 2),
        ("qwen3_5", {}, 8),
    ],
)
def test_a_step_is_that_of_trl(
    processor: ProcessorMixin, tmp_path: Path, family: str, options: dict[str, bool], rows: int
) -> None:
    a_model(family, tmp_path)
    plain = grpo_steps.trained(tmp_path, processor, shared=False, **options)
    shared = grpo_steps.trained(tmp_path, processor, shared=True, **options)
    same(shared, plain)
    assert set(shared.rows) == {rows}


@pytest.mark.parametrize(
    ("family", "rows"),
    [
        # a layer of sliding attention: images alone are shared
        ("gemma3", 8),
        ("gemma4", 8),
        ("internvl", 2),
        ("idefics3", 2),
    ],
)
def test_a_step_with_tiles_or_soft_tokens_is_that_of_trl(
    tmp_path: Path, family: str, rows: int
) -> None:
    small.checkpoint(family, tmp_path)
    own = load_processor(str(tmp_path))
    plain = grpo_steps.trained(tmp_path, own, shared=False)
    shared = grpo_steps.trained(tmp_path, own, shared=True)
    same(shared, plain)
    assert set(shared.rows) == {rows}


def same(shared: grpo_steps.Steps, plain: grpo_steps.Steps) -> None:
    assert shared.completions == plain.completions
    assert grpo_steps.error(shared.log_probs, plain.log_probs) < 1e-5
    assert grpo_steps.error(shared.gradients, plain.gradients) < 1e-5
    # the steps are not trivial
    lengths = {len(ids) for ids in plain.completions}
    assert min(lengths) == 1
    assert max(lengths) >= grpo_steps.LONGEST - 1
    assert len(lengths) > 2
    assert max(step.get("clip_ratio/region_mean", 0.0) for step in plain.logged) > 0
    assert max(step.get("kl", 0.0) for step in plain.logged) > 0
