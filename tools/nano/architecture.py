"""Builds an untrained nano: a Qwen2.5-VL of about two million parameters."""

from __future__ import annotations

import torch
from transformers import (
    PreTrainedTokenizerBase,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

IMAGE_SIDE_PX = 84
"""Every image is shrunk to this side: 6 x 6 patches of 14 px, merged 2 x 2 into 9 visual tokens."""
VISUAL_TOKENS = 9
MAX_POSITIONS = 4096
_WIDTH = 128
_HEADS = 4  # of 32: three rotary sections that sum to 16


def configuration(tokenizer: PreTrainedTokenizerBase) -> Qwen2_5_VLConfig:
    """Return the configuration with the token ids of `tokenizer`."""
    token_id = tokenizer.get_vocab().__getitem__
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": _WIDTH,
        "intermediate_size": 4 * _WIDTH,
        "num_hidden_layers": 4,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _HEADS,
        "max_position_embeddings": MAX_POSITIONS,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000.0,
            "mrope_section": [4, 6, 6],
        },
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": token_id("<|im_end|>"),
        "pad_token_id": token_id("<|endoftext|>"),
    }
    vision = {
        "depth": 2,
        "hidden_size": _WIDTH,
        "intermediate_size": 4 * _WIDTH,
        "num_heads": _HEADS,
        "out_hidden_size": _WIDTH,
        "fullatt_block_indexes": [0, 1],
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
