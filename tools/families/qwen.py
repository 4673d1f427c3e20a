"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from tools.families import chats, parts, sources
from tools.families.bpe import Added, numbered, tokenizer_json
from tools.families.parts import Checkpoint

QWEN2_VL_ADDED = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
QWEN2_5_PLAIN = (
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
)
QWEN3_PLAIN = (*QWEN2_5_PLAIN, "<tool_response>", "</tool_response>", "<think>", "</think>")
IDS = {
    "image_token_id": 151655,
    "video_token_id": 151656,
    "vision_start_token_id": 151652,
    "vision_end_token_id": 151653,
}
TEXT = {
    **parts.TEXT,
    "vocab_size": 151936,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
}
GENERATION = {
    "bos_token_id": 151643,
    "pad_token_id": 151643,
    "do_sample": True,
    "eos_token_id": [151645, 151643],
}
MROPE: Mapping[str, Any] = {"mrope_section": [2, 3, 3]}
VISION_3 = {
    "depth": 3,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_heads": 2,
    "out_hidden_size": 64,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "in_channels": 3,
    "num_position_embeddings": 2304,
    "hidden_act": "gelu_pytorch_tanh",
}


def tokenizer_2(more: Iterable[Added] = (), *, plain: Iterable[str] = ()) -> dict[str, Any]:
    """Return the tokenizer up to Qwen3: one vocabulary, and `plain` added tokens that differ."""
    added = [*numbered(151643, QWEN2_VL_ADDED, plain), *more]
    return tokenizer_json(sources.qwen("qwen.tiktoken"), added)


def qwen2_vl() -> Checkpoint:
    """Return Qwen2-VL."""
    text = {**TEXT, "tie_word_embeddings": True, "max_position_embeddings": 32768}
    vision = {
        "depth": 2,
        "embed_dim": 32,
        "hidden_size": 64,
        "num_heads": 2,
        "mlp_ratio": 2,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    return Checkpoint(
        config=_flat("qwen2_vl", "Qwen2VLForConditionalGeneration", text=text, vision=vision),
        tokenizer=tokenizer_2(),
        tokenizer_config={**parts.QWEN_TOKENIZER, "model_max_length": 32768},
        chat_template=chats.trl("qwen2_5_vl"),
        preprocessor=_pixels_2("Qwen2VLProcessor"),
        generation={**GENERATION, "temperature": 0.01, "top_k": 1, "top_p": 0.001},
    )


def qwen2_5_vl() -> Checkpoint:
    """Return Qwen2.5-VL."""
    text = {**TEXT, "tie_word_embeddings": True, "max_position_embeddings": 128000}
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": 64,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": 112,
        "fullatt_block_indexes": [1],
        "tokens_per_second": 2,
    }
    return Checkpoint(
        config=_flat("qwen2_5_vl", "Qwen2_5_VLForConditionalGeneration", text=text, vision=vision),
        tokenizer=tokenizer_2(plain=QWEN2_5_PLAIN),
        tokenizer_config={**parts.QWEN_TOKENIZER},
        chat_template=chats.trl("qwen2_5_vl"),
        preprocessor=_pixels_2("Qwen2_5_VLProcessor"),
        generation={**GENERATION, "repetition_penalty": 1.05, "temperature": 0.000001},
    )


def qwen3_vl() -> Checkpoint:
    """Return Qwen3-VL."""
    text = {
        **TEXT,
        "head_dim": 16,
        "tie_word_embeddings": True,
        "max_position_embeddings": 262144,
        "rope_parameters": parts.rope(5e6, **MROPE, mrope_interleaved=True),
    }
    return Checkpoint(
        config={
            "model_type": "qwen3_vl",
            "architectures": ["Qwen3VLForConditionalGeneration"],
            **IDS,
            "tie_word_embeddings": True,
            "text_config": text,
            "vision_config": {**VISION_3, "deepstack_visual_indexes": [0, 1]},
        },
        tokenizer=tokenizer_2(plain=QWEN3_PLAIN),
        tokenizer_config={**parts.QWEN_TOKENIZER, "model_max_length": 262144},
        chat_template=chats.trl("qwen3_vl"),
        preprocessor=pixels_3(),
        generation={
            **GENERATION,
            "top_p": 0.8,
            "top_k": 20,
            "temperature": 0.7,
            "repetition_penalty": 1.0,
        },
    )


def qwen3_vl_thinking() -> Checkpoint:
    """Return Qwen3-VL-Thinking, whose prompt ends in `<think>`.

    Stand-in: the template is Qwen3.5's, which ends the prompt alike.
    """
    return dataclasses.replace(qwen3_vl(), chat_template=chats.trl("qwen3_5_think"))


def qwen3_vl_moe() -> Checkpoint:
    """Return Qwen3-VL with experts."""
    dense = qwen3_vl()
    text = {
        **dense.config["text_config"],
        **parts.mixture(),
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "norm_topk_prob": True,
        "router_aux_loss_coef": 0.001,
        "tie_word_embeddings": False,
    }
    config = {
        **dense.config,
        "model_type": "qwen3_vl_moe",
        "architectures": ["Qwen3VLMoeForConditionalGeneration"],
        "text_config": text,
        "tie_word_embeddings": False,
    }
    return dataclasses.replace(dense, config=config)


def pixels_3() -> dict[str, Any]:
    """Return the image processor of Qwen3-VL and Qwen3.5."""
    return parts.image_processor(
        "Qwen2VLImageProcessorFast",
        "Qwen3VLProcessor",
        size={"longest_edge": 16777216, "shortest_edge": 65536},
        patch_size=16,
        temporal_patch_size=2,
        merge_size=2,
        **parts.HALF_PIXELS,
    )


def _flat(kind: str, architecture: str, *, text: Any, vision: Any) -> dict[str, Any]:
    """Return a config as the hub has it: the text decoder's fields beside the others."""
    return {
        **text,
        "model_type": kind,
        "architectures": [architecture],
        **IDS,
        "tie_word_embeddings": True,
        "vision_config": vision,
        "rope_theta": 1e6,
        "rope_scaling": {"type": "mrope", **MROPE},
    }


def _pixels_2(processor: str) -> dict[str, Any]:
    return parts.image_processor(
        "Qwen2VLImageProcessor",
        processor,
        min_pixels=3136,
        max_pixels=12845056,
        patch_size=14,
        temporal_patch_size=2,
        merge_size=2,
        **parts.CLIP_PIXELS,
    )
