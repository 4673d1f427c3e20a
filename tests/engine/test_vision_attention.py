"""Attention of windows at once is attention of one after the other."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import Qwen2_5_VLConfig, Qwen2VLConfig, Qwen3VLConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VisionTransformerPretrainedModel,
)
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel

from geovlm.engine.speedups import vision_attention

SMALL = {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64}
TOWERS = {
    Qwen2VisionTransformerPretrainedModel: Qwen2VLConfig(
        vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2}
    ),
    Qwen2_5_VisionTransformerPretrainedModel: Qwen2_5_VLConfig(
        vision_config={
            **SMALL,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
            "window_size": 56,
        }
    ),
    Qwen3VLVisionModel: Qwen3VLConfig(
        vision_config={**SMALL, "out_hidden_size": 32, "deepstack_visual_indexes": [0]}
    ),
}
GRIDS = torch.tensor([[1, 4, 4], [1, 10, 6], [1, 4, 4], [1, 6, 14]])
"""Images whose windows are of several sizes; windows are 4 x 4 patches."""


def passed(tower: torch.nn.Module, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and gradients."""
    output = tower(pixels, grid_thw=GRIDS)
    features = output.pooler_output
    features = torch.cat(features) if isinstance(features, (list, tuple)) else features
    features = torch.cat([features, *(getattr(output, "deepstack_features", None) or ())])
    features.square().sum().backward()
    return features.detach(), torch.cat([p.grad.flatten() for p in tower.parameters()])


@pytest.mark.parametrize("kind", TOWERS)
def test_features_and_gradients_are_those_of_single_sequences(kind: type) -> None:
    torch.manual_seed(0)
    config = TOWERS[kind].vision_config
    tower = kind._from_config(config, attn_implementation="sdpa").train()
    other = copy.deepcopy(tower)
    assert vision_attention.batch(other)
    size = 3 * config.temporal_patch_size * config.patch_size**2
    pixels = torch.randn(int(GRIDS.prod(dim=-1).sum()), size)
    for plain, batched in zip(passed(tower, pixels), passed(other, pixels), strict=True):
        assert (batched - plain).abs().max() < 1e-5 * plain.abs().max()
        assert plain.abs().max() > 0


def test_sequences_of_equal_length_are_together() -> None:
    groups = vision_attention.equal_lengths(torch.tensor([0, 2, 5, 5, 7]))
    assert [group.tolist() for group in groups] == [[[0, 1], [5, 6]], [[2, 3, 4]]]


def test_other_attention_is_left_alone() -> None:
    kind = Qwen2_5_VisionTransformerPretrainedModel
    tower = kind._from_config(TOWERS[kind].vision_config, attn_implementation="eager")
    assert not vision_attention.batch(tower)
    assert tower.config._attn_implementation == "eager"
