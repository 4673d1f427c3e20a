"""Tiny models of the families' own classes, with random weights."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from transformers import AutoModelForImageTextToText, PreTrainedModel

_WIDTHS = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
_TEXT = {**_WIDTHS, "num_hidden_layers": 2, "num_key_value_heads": 1, "vocab_size": 300}
_ROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
_QWEN = {**_TEXT, "head_dim": 8, "rope_parameters": _ROPE}
_EXPERTS = {"num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 8}
_HYBRID = {
    **_QWEN,
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "rope_parameters": {**_ROPE, "partial_rotary_factor": 1.0},
}
_GLM = {**_QWEN, "rope_parameters": {**_ROPE, "partial_rotary_factor": 1.0}}
_GLM_EXPERTS = {
    "n_routed_experts": 3,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 8,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
_VISION = {**_WIDTHS, "num_hidden_layers": 1, "image_size": 28, "patch_size": 14}
_QWEN_VISION = {"depth": 1, "hidden_size": 16, "num_heads": 2, "out_hidden_size": 16}
_QWEN3_VISION = {**_QWEN_VISION, "intermediate_size": 32}

CONFIGS: dict[str, dict[str, Any]] = {
    "qwen2_5_vl": {"text_config": _QWEN, "vision_config": _QWEN_VISION},
    "qwen3_vl": {
        "text_config": _QWEN,
        "vision_config": {**_QWEN3_VISION, "deepstack_visual_indexes": [0]},
    },
    "qwen3_vl_moe": {
        "text_config": {**_QWEN, **_EXPERTS, "router_aux_loss_coef": 0.001},
        "vision_config": {**_QWEN3_VISION, "deepstack_visual_indexes": [0]},
    },
    "qwen3_5": {"text_config": _HYBRID, "vision_config": _QWEN3_VISION},
    "qwen3_5_moe": {
        "text_config": {**_HYBRID, **_EXPERTS, "shared_expert_intermediate_size": 8},
        "vision_config": _QWEN3_VISION,
    },
    "glm4v": {"text_config": _GLM, "vision_config": _QWEN3_VISION},
    "glm4v_moe": {"text_config": {**_GLM, **_GLM_EXPERTS}, "vision_config": _QWEN3_VISION},
    "gemma3": {"text_config": {**_TEXT, "head_dim": 8}, "vision_config": _VISION},
    "gemma4": {
        "text_config": {
            **_TEXT,
            "head_dim": 8,
            "global_head_dim": 8,
            "layer_types": None,
            "hidden_size_per_layer_input": 0,
            "num_kv_shared_layers": 0,
        },
        "vision_config": {**_VISION, "num_key_value_heads": 2, "head_dim": 8, "global_head_dim": 8},
        "audio_config": {**_VISION},
    },
    "internvl": {
        "text_config": {"model_type": "qwen2", **_TEXT},
        "vision_config": {**_VISION, "image_size": [28, 28], "patch_size": [14, 14]},
    },
    "smolvlm": {"text_config": {"model_type": "llama", **_TEXT}, "vision_config": _VISION},
}
"""Model type -> the parts of its configuration."""


def config(kind: str) -> transformers.PretrainedConfig:
    """Return the configuration of a tiny model of a model type."""
    return transformers.CONFIG_MAPPING[kind](**CONFIGS[kind])


def model(kind: str, *, device: str = "cpu") -> PreTrainedModel:
    """Return a tiny model of a model type, the same at every call."""
    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForImageTextToText.from_config(config(kind)).eval()
