"""Gemma 3, Gemma 4 and PaliGemma 2."""

from __future__ import annotations

from typing import Any

from tools.families import chats, parts, sources
from tools.families.bpe import Added, added_tokens
from tools.families.parts import Checkpoint

TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "hidden_activation": "gelu_pytorch_tanh",
    "rms_norm_eps": 1e-6,
}
LAYERS = ["sliding_attention", "full_attention"]
TOKENIZER = {
    "tokenizer_class": "GemmaTokenizer",
    "bos_token": "<bos>",
    "eos_token": "<eos>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "model_max_length": 1000000000000000019884624838656,
    "clean_up_tokenization_spaces": False,
}
WITH_BOS = {"add_bos_token": True, "add_eos_token": False}
GENERATION = {
    "bos_token_id": 2,
    "do_sample": True,
    "eos_token_id": [1, 106],
    "pad_token_id": 0,
    "top_k": 64,
    "top_p": 0.95,
}
GEMMA4_TOKENS = {
    98: "<|think|>",
    100: "<|channel>",
    101: "<channel|>",
    105: "<|turn>",
    106: "<turn|>",
    255999: "<|image>",
    256000: "<|audio>",
    258880: "<|image|>",
    258881: "<|audio|>",
    258882: "<image|>",
    258883: "<audio|>",
    258884: "<|video|>",
}
"""At the ids that the config class of Gemma 4 states."""
NAMES_4 = {
    "boi_token": "<|image>",
    "eoi_token": "<image|>",
    "image_token": "<|image|>",
    "boa_token": "<|audio>",
    "eoa_token": "<audio|>",
    "audio_token": "<|audio|>",
}
"""Special tokens of Gemma 4 that stand for images and sounds, by the names of its processor."""


def gemma3() -> Checkpoint:
    """Return Gemma 3."""
    names = {
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
        "image_token": "<image_soft_token>",
    }
    text = {
        "model_type": "gemma3_text",
        **TEXT,
        "vocab_size": 262208,
        "query_pre_attn_scalar": 16,
        "sliding_window": 1024,
        "max_position_embeddings": 131072,
        "layer_types": LAYERS,
        "tie_word_embeddings": True,
    }
    return Checkpoint(
        config={
            "model_type": "gemma3",
            "architectures": ["Gemma3ForConditionalGeneration"],
            "mm_tokens_per_image": 256,
            "boi_token_index": 255999,
            "eoi_token_index": 256000,
            "image_token_index": 262144,
            "eos_token_id": [1, 106],
            "tie_word_embeddings": True,
            "text_config": text,
            "vision_config": _siglip(896),
        },
        tokenizer=_with(sources.npm("gemma3"), [Added(262144, "<image_soft_token>", True)]),
        tokenizer_config={
            **TOKENIZER,
            **WITH_BOS,
            **names,
            "extra_special_tokens": names,
            "processor_class": "Gemma3Processor",
            "spaces_between_special_tokens": False,
        },
        chat_template=chats.trl("gemma3"),
        preprocessor=parts.image_processor(
            "Gemma3ImageProcessor",
            "Gemma3Processor",
            size={"height": 896, "width": 896},
            resample=2,
            image_seq_length=256,
            do_pan_and_scan=None,
            **parts.HALF_PIXELS,
        ),
        processor={"image_seq_length": 256, "processor_class": "Gemma3Processor"},
        generation={**GENERATION, "cache_implementation": "hybrid"},
    )


def gemma4() -> Checkpoint:
    """Return Gemma 4 without its audio tower.

    Stand-in: the vocabulary is Gemma 3's, with Gemma 4's special tokens.
    """
    text = {
        "model_type": "gemma4_text",
        **TEXT,
        "vocab_size": 262144,
        "global_head_dim": 16,
        "layer_types": LAYERS,
        "sliding_window": 512,
        "hidden_size_per_layer_input": 0,
        "vocab_size_per_layer_input": 262144,
        "final_logit_softcapping": 30.0,
        "tie_word_embeddings": True,
    }
    vision = {
        "model_type": "gemma4_vision",
        **parts.SIGLIP,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "global_head_dim": 16,
        "patch_size": 16,
        "pooling_kernel_size": 3,
    }
    return Checkpoint(
        config={
            "model_type": "gemma4",
            "architectures": ["Gemma4ForConditionalGeneration"],
            "tie_word_embeddings": True,
            "eos_token_id": [1, 106],
            "audio_config": None,
            "text_config": text,
            "vision_config": vision,
        },
        tokenizer=_renamed(sources.npm("gemma3"), GEMMA4_TOKENS),
        tokenizer_config={
            **TOKENIZER,
            **NAMES_4,
            "padding_side": "left",
            "extra_special_tokens": NAMES_4,
            "processor_class": "Gemma4Processor",
        },
        chat_template=chats.trl("gemma4_v5"),
        preprocessor=parts.image_processor(
            "Gemma4ImageProcessor",
            "Gemma4Processor",
            patch_size=16,
            pooling_kernel_size=3,
            max_soft_tokens=280,
            image_mean=[0.0, 0.0, 0.0],
            image_std=[1.0, 1.0, 1.0],
        )
        | {"do_normalize": False},
        processor={
            "image_seq_length": 280,
            "audio_seq_length": 750,
            "processor_class": "Gemma4Processor",
            "feature_extractor": {"feature_extractor_type": "Gemma4AudioFeatureExtractor"},
            "video_processor": {"video_processor_type": "Gemma4VideoProcessor"},
        },
        generation={**GENERATION, "temperature": 1.0},
    )


def paligemma2() -> Checkpoint:
    """Return PaliGemma 2, which has no chat template."""
    added = [Added(256000 + place, f"<loc{place:04d}>", False) for place in range(1024)]
    added += [Added(257024 + place, f"<seg{place:03d}>", False) for place in range(128)]
    text = {
        "model_type": "gemma2",
        **TEXT,
        "vocab_size": 257216,
        "query_pre_attn_scalar": 16,
        "sliding_window": 4096,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
    }
    return Checkpoint(
        config={
            "model_type": "paligemma",
            "architectures": ["PaliGemmaForConditionalGeneration"],
            "image_token_index": 257152,
            "projection_dim": 64,
            "hidden_size": 64,
            "tie_word_embeddings": True,
            "bos_token_id": 2,
            "eos_token_id": 1,
            "pad_token_id": 0,
            "text_config": text,
            "vision_config": {**_siglip(224), "projection_dim": 64},
        },
        tokenizer=_with(sources.npm("gemini"), [*added, Added(257152, "<image>", True)]),
        tokenizer_config={
            **TOKENIZER,
            **WITH_BOS,
            "processor_class": "PaliGemmaProcessor",
            "image_token": "<image>",
            "extra_special_tokens": {"image_token": "<image>"},
        },
        chat_template=None,
        preprocessor=parts.image_processor(
            "SiglipImageProcessor",
            "PaliGemmaProcessor",
            size={"height": 224, "width": 224},
            resample=3,
            image_seq_length=256,
            **parts.HALF_PIXELS,
        ),
        processor={"processor_class": "PaliGemmaProcessor"},
        generation={
            "bos_token_id": 2,
            "eos_token_id": 1,
            "pad_token_id": 0,
            "cache_implementation": "hybrid",
        },
    )


def _siglip(side_px: int) -> dict[str, Any]:
    return {
        "model_type": "siglip_vision_model",
        **parts.SIGLIP,
        "image_size": side_px,
        "patch_size": 14,
        "vision_use_head": False,
    }


def _with(tokenizer: dict[str, Any], added: list[Added]) -> dict[str, Any]:
    """Return a `tokenizer.json` with the added tokens that it lacks."""
    known = {each["id"] for each in tokenizer["added_tokens"]}
    more = added_tokens(each for each in added if each.id not in known)
    return {**tokenizer, "added_tokens": [*tokenizer["added_tokens"], *more]}


def _renamed(tokenizer: dict[str, Any], names: dict[int, str]) -> dict[str, Any]:
    """Return a `tokenizer.json` in which the entries of these ids are special tokens of a name."""
    old = {place: entry for entry, place in tokenizer["model"]["vocab"].items()} | names
    kept = [each for each in tokenizer["added_tokens"] if each["id"] not in names]
    kept += added_tokens(Added(place, name, True) for place, name in names.items())
    return {
        **tokenizer,
        "added_tokens": sorted(kept, key=lambda each: int(each["id"])),
        "model": {**tokenizer["model"], "vocab": {entry: place for place, entry in old.items()}},
    }
