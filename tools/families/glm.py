"""GLM-4.1V, GLM-4.5V and GLM-4.6V.

Stand-in: GLM's own vocabulary is in no package that was found. The vocabulary is the first 151,329
entries of Qwen's. Names of the added tokens are GLM's, and so are the ids that its configs state:
the image of GLM-4.1V, `</answer>` among its end tokens, the image of GLM-4.5V.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from tools.families import chats, parts, sources
from tools.families.bpe import Added, numbered, tokenizer_json
from tools.families.parts import Checkpoint

BASE_ENTRIES = 151329
ADDED = (
    "<|endoftext|>",
    "[MASK]",
    "[gMASK]",
    "[sMASK]",
    "<sop>",
    "<eop>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
)
ADDED_4_1V = (
    "<|image|>",
    "<|video|>",
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    "<|begin_of_box|>",
    "<|end_of_box|>",
)
ADDED_4_5V = (
    "<|begin_of_audio|>",
    "<|end_of_audio|>",
    "<|begin_of_transcription|>",
    "<|end_of_transcription|>",
    "<|code_prefix|>",
    "<|code_middle|>",
    "<|code_suffix|>",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<arg_key>",
    "</arg_key>",
    "<arg_value>",
    "</arg_value>",
    "/nothink",
    "<|begin_of_box|>",
    "<|end_of_box|>",
    "<|image|>",
    "<|video|>",
)
TOKENIZER = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "eos_token": "<|endoftext|>",
    "pad_token": "<|endoftext|>",
    "model_max_length": 65536,
    "padding_side": "left",
    "clean_up_tokenization_spaces": False,
    "do_lower_case": False,
    "remove_space": False,
}
TEXT = {
    **parts.TEXT,
    "vocab_size": 151552,
    "attention_bias": True,
    "max_position_embeddings": 65536,
    "pad_token_id": 151329,
    "rope_parameters": parts.rope(1e4, partial_rotary_factor=0.5, mrope_section=[1, 1, 2]),
}
VISION = {
    "depth": 2,
    "hidden_size": 64,
    "intermediate_size": 64,
    "num_heads": 2,
    "out_hidden_size": 64,
    "image_size": 336,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "attention_bias": False,
}
PIXELS = {
    "size": {"shortest_edge": 12544, "longest_edge": 9633792},
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    **parts.CLIP_PIXELS,
}
"""Areas of two frames."""
GENERATION = {
    "do_sample": True,
    "pad_token_id": 151329,
    "top_p": 0.6,
    "temperature": 0.8,
    "top_k": 2,
}
END = [151329, 151336, 151338]
"""`<|endoftext|>`, `<|user|>` and `<|observation|>`; GLM-4.1V adds `</answer>`."""


def glm4v() -> Checkpoint:
    """Return GLM-4.1V."""
    ends = [*END, 151348]
    return Checkpoint(
        config={
            "model_type": "glm4v",
            "architectures": ["Glm4vForConditionalGeneration"],
            **_ids(image=151343),
            "tie_word_embeddings": False,
            "text_config": {"model_type": "glm4v_text", **TEXT, "eos_token_id": ends},
            "vision_config": {"model_type": "glm4v_vision", **VISION},
        },
        tokenizer=_tokenizer(ADDED_4_1V, special=("<|image|>", "<|video|>")),
        tokenizer_config=dict(TOKENIZER),
        chat_template=chats.GLM4V,
        preprocessor=parts.image_processor("Glm4vImageProcessor", "Glm4vProcessor", **PIXELS),
        video={"video_processor_type": "Glm4vVideoProcessor", **PIXELS},
        generation={**GENERATION, "eos_token_id": ends},
    )


def glm4v_moe() -> Checkpoint:
    """Return GLM-4.5V: experts, and the tokens and template of GLM-4.5."""
    text = {
        "model_type": "glm4v_moe_text",
        **TEXT,
        **parts.mixture(experts="n_routed_experts"),
        "eos_token_id": END,
        "head_dim": 16,
        "first_k_dense_replace": 1,
        "n_shared_experts": 1,
        "n_group": 1,
        "topk_group": 1,
    }
    special = [name for name in ADDED_4_5V if name.startswith("<|")]
    return Checkpoint(
        config={
            "model_type": "glm4v_moe",
            "architectures": ["Glm4vMoeForConditionalGeneration"],
            **_ids(image=151363),
            "tie_word_embeddings": False,
            "text_config": text,
            "vision_config": {"model_type": "glm4v_moe_vision", **VISION},
        },
        tokenizer=_tokenizer(ADDED_4_5V, special=special),
        tokenizer_config=dict(TOKENIZER),
        chat_template=chats.glm4v_moe(),
        preprocessor=parts.image_processor("Glm4vImageProcessor", "Glm4vProcessor", **PIXELS),
        video={"video_processor_type": "Glm4vVideoProcessor", **PIXELS},
        generation={**GENERATION, "eos_token_id": END},
    )


def glm46v() -> Checkpoint:
    """Return GLM-4.6V: GLM-4.1V's model with GLM-4.5V's tokens and template."""
    config = {
        **glm4v().config,
        "model_type": "glm46v",
        "architectures": ["Glm46VForConditionalGeneration"],
        **_ids(image=151363),
    }
    return dataclasses.replace(
        glm4v_moe(),
        config=config,
        preprocessor=parts.image_processor("Glm46VImageProcessor", "Glm46VProcessor", **PIXELS),
        video={"video_processor_type": "Glm46VVideoProcessor", **PIXELS},
    )


def _ids(*, image: int) -> dict[str, int]:
    return {
        "image_token_id": image,
        "video_token_id": image + 1,
        "image_start_token_id": 151339,
        "image_end_token_id": 151340,
        "video_start_token_id": 151341,
        "video_end_token_id": 151342,
    }


def _tokenizer(more: tuple[str, ...], *, special: tuple[str, ...] | list[str]) -> dict[str, Any]:
    added = numbered(BASE_ENTRIES, ADDED)
    first = BASE_ENTRIES + len(ADDED)
    added += [Added(first + place, name, name in special) for place, name in enumerate(more)]
    return tokenizer_json(sources.qwen("qwen.tiktoken"), added, size=BASE_ENTRIES)
