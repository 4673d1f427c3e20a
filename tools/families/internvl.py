"""InternVL3 and InternVL3.5 in the layout of transformers (`-hf`)."""

from __future__ import annotations

from typing import Any, Literal

from tools.families import chats, parts, qwen
from tools.families.bpe import numbered
from tools.families.parts import Checkpoint

ADDED = (
    "<img>",
    "</img>",
    "<IMG_CONTEXT>",
    "<quad>",
    "</quad>",
    "<ref>",
    "</ref>",
    "<box>",
    "</box>",
    "<video>",
)
_NAMES = {
    "context_image_token": "<IMG_CONTEXT>",
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "video_token": "<video>",
}


def internvl3(version: Literal["3", "3.5"] = "3") -> Checkpoint:
    """Return InternVL3, on Qwen2.5, or InternVL3.5, on Qwen3."""
    plain = qwen.QWEN2_5_PLAIN if version == "3" else qwen.QWEN3_PLAIN
    first = 151657 + len(plain)
    decoder: dict[str, Any] = (
        {"model_type": "qwen2", "vocab_size": 151680, "max_position_embeddings": 32768}
        if version == "3"
        else {"model_type": "qwen3", "max_position_embeddings": 40960, "head_dim": 16}
    )
    vision = {
        "model_type": "internvl_vision",
        **parts.SIGLIP,
        "image_size": [448, 448],
        "patch_size": [14, 14],
        "attention_bias": True,
        "norm_type": "layer_norm",
        "use_qk_norm": False,
        "use_mean_pooling": True,
        "layer_scale_init_value": 0.1,
    }
    return Checkpoint(
        config={
            "model_type": "internvl",
            "architectures": ["InternVLForConditionalGeneration"],
            "image_token_id": first + ADDED.index("<IMG_CONTEXT>"),
            "image_seq_length": 256,
            "downsample_ratio": 0.5,
            "projector_hidden_act": "gelu",
            "vision_feature_layer": -1,
            "vision_feature_select_strategy": "default",
            "tie_word_embeddings": False,
            "text_config": {
                **qwen.TEXT,
                "tie_word_embeddings": False,
                "rope_parameters": parts.rope(1e6),
                **decoder,
            },
            "vision_config": vision,
        },
        tokenizer=qwen.tokenizer_2(numbered(first, ADDED), plain=plain),
        tokenizer_config={
            **parts.QWEN_TOKENIZER,
            "model_max_length": 8192,
            "processor_class": "InternVLProcessor",
            "extra_special_tokens": _NAMES,
            **_NAMES,
        },
        chat_template=chats.INTERNVL,
        preprocessor=parts.image_processor(
            "GotOcr2ImageProcessorFast",
            "InternVLProcessor",
            size={"height": 448, "width": 448},
            crop_to_patches=False,
            min_patches=1,
            max_patches=12,
            resample=3,
            **parts.IMAGENET_PIXELS,
        ),
        processor={"image_seq_length": 256, "processor_class": "InternVLProcessor"},
        video={
            "video_processor_type": "InternVLVideoProcessor",
            "size": {"height": 384, "width": 384},
            **parts.IMAGENET_PIXELS,
        },
        generation={"eos_token_id": 151645, "bos_token_id": 151643, "pad_token_id": 151643},
    )
