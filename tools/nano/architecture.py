"""Builds an untrained nano: a Qwen2.5-VL of some two million parameters."""

from __future__ import annotations

import torch
from transformers import (
    PreTrainedTokenizerBase,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

IMAGE_SIDE_PX = 84
"""Every image is shrunk to this side: 12 x 12 patches of 7 px, merged 2 x 2 into 36 visual tokens.

Objects of `geovlm.scenes` are 12 to 28 px wide there, so each has tokens of its own.
"""
PATCH_PX = 7
TOKEN_PX = 2 * PATCH_PX
TOKENS_ACROSS = IMAGE_SIDE_PX // TOKEN_PX
VISUAL_TOKENS = TOKENS_ACROSS**2
LAYERS = 5
MAX_POSITIONS = 4096
_WIDTH = 128
_THETA = 10.0
"""Base of the rotary positions. Of a head's 16 pairs the last 6, the slowest, tell columns of an
image apart: with the usual 10,000 they turn by 0.015 rad over the 6 columns, and the model is blind
to columns; with 10 they turn by 0.6 to 1.2 rad."""
_HEADS = 4  # of 32: three rotary sections that sum to 16


def configuration(tokenizer: PreTrainedTokenizerBase) -> Qwen2_5_VLConfig:
    """Return the configuration with the token ids of `tokenizer`."""
    token_id = tokenizer.get_vocab().__getitem__
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": _WIDTH,
        "intermediate_size": 4 * _WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _HEADS,
        "max_position_embeddings": MAX_POSITIONS,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": _THETA,
            "mrope_section": [4, 6, 6],
        },
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": token_id("<|im_end|>"),
        "pad_token_id": token_id("<|endoftext|>"),
    }
    vision = {
        "depth": 3,
        "patch_size": PATCH_PX,
        "hidden_size": _WIDTH,
        "intermediate_size": 4 * _WIDTH,
        "num_heads": _HEADS,
        "out_hidden_size": _WIDTH,
        "fullatt_block_indexes": [0, 1, 2],
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=token_id("<|image_pad|>"),
        video_token_id=token_id("<|video_pad|>"),
        vision_start_token_id=token_id("<|vision_start|>"),
        vision_end_token_id=token_id("<|vision_end|>"),
        tie_word_embeddings=True,
    )


def build(
    tokenizer: PreTrainedTokenizerBase, *, seed: int = 0
) -> Qwen2_5_VLForConditionalGeneration:
    """Return an untrained nano in float32 that stops at the end of the assistant's turn."""
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(configuration(tokenizer))
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.generation_config.pad_token_id = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    return model.float()
