"""Tiny checkpoints of families with tiles or soft tokens, on the small vocabulary of nano.

Their own vocabularies are large: with the 262,144 entries of Gemma a step of TRL takes minutes.
Classes of models and processors, templates and names of tokens are those of the families.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from transformers import AutoModelForImageTextToText, AutoTokenizer

from geovlm import nano
from tools.families import chats, gemma, parts

SIDE_PX = 56
"""Side of a tile: 4 × 4 patches."""
TOKENS_PER_TILE = 4
TEXT: Mapping[str, Any] = {
    **parts.TEXT,
    "head_dim": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}
TOWER: Mapping[str, Any] = {**parts.SIGLIP, "patch_size": 14}
LAYERS = ["sliding_attention", "full_attention"]


class Family(NamedTuple):
    """What a checkpoint needs beside nano's vocabulary."""

    config: dict[str, Any]
    image_token: str
    """Token of the prompt whose features are those of images."""
    tokens: dict[str, str]
    """Attributes of the tokenizer, and the special tokens that they name."""
    others: tuple[str, ...]
    """More special tokens of the template and of the processor."""
    template: str
    images: dict[str, Any]
    """`preprocessor_config.json`."""
    bundle: dict[str, Any]
    """`processor_config.json`."""


def checkpoint(family: str, folder: Path) -> None:
    """Write model and processor of a family, with random weights, in float32."""
    made = FAMILIES[family]()
    tokenizer = AutoTokenizer.from_pretrained(nano.path(), extra_special_tokens=made.tokens)
    tokenizer.add_tokens([*made.tokens.values(), *made.others], special_tokens=True)
    tokenizer.chat_template = made.template
    tokenizer.save_pretrained(folder)
    token = tokenizer.convert_tokens_to_ids(made.image_token)
    model_class = transformers.CONFIG_MAPPING[family]
    config = model_class(**made.config)
    config.image_token_id = token
    size = -(-len(tokenizer) // 16) * 16
    config.get_text_config().vocab_size = size
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    for weight in model.parameters():
        if not weight.any():  # Gemma 3 begins with a projection of zeros
            torch.nn.init.normal_(weight, std=0.1)
    model.save_pretrained(folder)
    for name, values in (("preprocessor", made.images), ("processor", made.bundle)):
        (folder / f"{name}_config.json").write_text(json.dumps(values), encoding="utf-8")


def gemma3() -> Family:
    names = {
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
        "image_token": "<image_soft_token>",
    }
    tower = {"model_type": "siglip_vision_model", **TOWER, "image_size": SIDE_PX}
    return Family(
        config={
            "text_config": {**TEXT, "layer_types": LAYERS, "sliding_window": 8},
            "vision_config": {**tower, "vision_use_head": False},
            "mm_tokens_per_image": TOKENS_PER_TILE,
        },
        image_token="<image_soft_token>",
        tokens=names,
        others=("<start_of_turn>", "<end_of_turn>"),
        template=chats.trl("gemma3"),
        images=parts.image_processor(
            "Gemma3ImageProcessor",
            "Gemma3Processor",
            size={"height": SIDE_PX, "width": SIDE_PX},
            image_seq_length=TOKENS_PER_TILE,
            **parts.HALF_PIXELS,
        ),
        bundle={"image_seq_length": TOKENS_PER_TILE, "processor_class": "Gemma3Processor"},
    )


def gemma4() -> Family:
    text = {
        **TEXT,
        "global_head_dim": 16,
        "hidden_size_per_layer_input": 0,
        "layer_types": LAYERS,
        "sliding_window": 8,
    }
    tower = {**TOWER, "head_dim": 16, "num_key_value_heads": 2, "pooling_kernel_size": 2}
    return Family(
        config={"text_config": text, "vision_config": tower, "audio_config": None},
        image_token="<|image|>",
        tokens=gemma.NAMES_4,
        others=("<|turn>", "<turn|>", "<|channel>", "<channel|>", "<|video|>"),
        template=chats.trl("gemma4_v5"),
        images=parts.image_processor(
            "Gemma4ImageProcessor",
            "Gemma4Processor",
            patch_size=14,
            pooling_kernel_size=2,
            max_soft_tokens=70,
        ),
        bundle={
            "image_seq_length": 70,
            "processor_class": "Gemma4Processor",
            "feature_extractor": {"feature_extractor_type": "Gemma4AudioFeatureExtractor"},
            "video_processor": {"video_processor_type": "Gemma4VideoProcessor"},
        },
    )


def internvl() -> Family:
    names = {
        "context_image_token": "<IMG_CONTEXT>",
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "video_token": "<video>",
    }
    sides = {"image_size": [SIDE_PX, SIDE_PX], "patch_size": [14, 14]}
    return Family(
        config={
            "text_config": {"model_type": "qwen3", **TEXT},
            "vision_config": {**TOWER, **sides},
        },
        image_token="<IMG_CONTEXT>",
        tokens=names,
        others=(),
        template=chats.INTERNVL,
        images=parts.image_processor(
            "GotOcr2ImageProcessorFast",
            "InternVLProcessor",
            size={"height": SIDE_PX, "width": SIDE_PX},
            crop_to_patches=True,
            min_patches=1,
            max_patches=4,
            **parts.IMAGENET_PIXELS,
        ),
        bundle={"image_seq_length": TOKENS_PER_TILE, "processor_class": "InternVLProcessor"},
    )


def idefics3() -> Family:
    side = {"longest_edge": SIDE_PX}
    return Family(
        config={
            "text_config": {"model_type": "llama", **TEXT},
            "vision_config": {**TOWER, "image_size": SIDE_PX},
            "scale_factor": 2,
        },
        image_token="<image>",
        tokens={},
        others=("<fake_token_around_image>", "<image>", "<end_of_utterance>"),
        template=chats.trl("idefics3"),
        images=parts.image_processor(
            "Idefics3ImageProcessor",
            "Idefics3Processor",
            size={"longest_edge": 3 * SIDE_PX},
            max_image_size=side,
            do_image_splitting=True,
            do_pad=True,
            **parts.HALF_PIXELS,
        ),
        bundle={"image_seq_len": TOKENS_PER_TILE, "processor_class": "Idefics3Processor"},
    )


FAMILIES = {"gemma3": gemma3, "gemma4": gemma4, "internvl": internvl, "idefics3": idefics3}
