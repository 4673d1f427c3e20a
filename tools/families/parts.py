"""The files of a checkpoint as values, and what several families share of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CLIP_PIXELS: Mapping[str, Any] = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
HALF_PIXELS: Mapping[str, Any] = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
IMAGENET_PIXELS: Mapping[str, Any] = {
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}
TEXT: Mapping[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "initializer_range": 0.02,
}
"""A text decoder of two layers."""
SIGLIP: Mapping[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
"""A vision tower of two layers, for the families whose tower is SigLIP or like it."""
QWEN_TOKENIZER: Mapping[str, Any] = {
    "tokenizer_class": "Qwen2Tokenizer",
    "eos_token": "<|im_end|>",
    "pad_token": "<|endoftext|>",
    "bos_token": None,
    "unk_token": None,
    "model_max_length": 131072,
    "add_prefix_space": False,
    "clean_up_tokenization_spaces": False,
    "errors": "replace",
    "split_special_tokens": False,
    "add_bos_token": False,
}


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The files of a folder of the hub, apart from the weights; None: it has no such file."""

    config: dict[str, Any]
    tokenizer: dict[str, Any]
    """`tokenizer.json`."""
    tokenizer_config: dict[str, Any]
    chat_template: str | None
    preprocessor: dict[str, Any]
    generation: dict[str, Any]
    processor: dict[str, Any] | None = None
    video: dict[str, Any] | None = None
    """`video_preprocessor_config.json`."""


def image_processor(kind: str, processor: str, **more: Any) -> dict[str, Any]:
    """Return a `preprocessor_config.json`."""
    return {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "rescale_factor": 1 / 255,
        "image_processor_type": kind,
        "processor_class": processor,
        **more,
    }


def rope(theta: float, **more: Any) -> dict[str, Any]:
    """Return the rotary position embedding of a text decoder."""
    return {"rope_type": "default", "rope_theta": theta, **more}


def mixture(*, experts: str = "num_experts") -> dict[str, Any]:
    """Return four experts, of which each token uses two; `experts` is the key of their number."""
    return {experts: 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
