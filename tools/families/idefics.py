"""SmolVLM2 and Idefics3."""

from __future__ import annotations

from typing import Any

from tools.families import chats, parts, sources
from tools.families.bpe import Added, added_tokens, numbered, tokenizer_json
from tools.families.parts import Checkpoint

SMOLVLM_FIRST = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<repo_name>",
    "<reponame>",
    "<file_sep>",
    "<filename>",
    "<gh_stars>",
    "<issue_start>",
    "<issue_comment>",
    "<issue_closed>",
    "<jupyter_start>",
    "<jupyter_text>",
    "<jupyter_code>",
    "<jupyter_output>",
    "<jupyter_script>",
    "<empty_output>",
)
SMOLVLM_ENTRIES = 49152


def smolvlm2() -> Checkpoint:
    """Return SmolVLM2.

    Stand-in: SmolLM2's vocabulary is in no package that was found; it is the beginning of Qwen's.
    Names and ids of the special tokens are those of SmolVLM2-500M.
    """
    cells = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    reserved = [f"<|reserved_special_token_{place}|>" for place in range(88)]
    frame = ["<global-img>", *cells, "<fake_token_around_image>", "<image>"]
    added = numbered(0, SMOLVLM_FIRST)
    added += numbered(SMOLVLM_ENTRIES, [*frame, *reserved, "<end_of_utterance>"])
    names = {
        "end_of_utterance_token": "<end_of_utterance>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "image_token": "<image>",
    }
    return Checkpoint(
        config=_idefics(
            "smolvlm",
            "SmolVLMForConditionalGeneration",
            text={
                "vocab_size": 49280,
                "max_position_embeddings": 8192,
                "pad_token_id": 2,
                "bos_token_id": 1,
                "eos_token_id": 2,
                "rope_parameters": parts.rope(1e5),
            },
            vision={"image_size": 512, "patch_size": 16},
            image_token_id=49190,
            scale_factor=4,
        ),
        tokenizer=tokenizer_json(
            sources.qwen("qwen.tiktoken"),
            added,
            size=SMOLVLM_ENTRIES - len(SMOLVLM_FIRST),
            first=SMOLVLM_FIRST,
        ),
        tokenizer_config={
            "tokenizer_class": "GPT2Tokenizer",
            "bos_token": "<|im_start|>",
            "eos_token": "<end_of_utterance>",
            "pad_token": "<|im_end|>",
            "unk_token": "<|endoftext|>",
            "model_max_length": 8192,
            "padding_side": "left",
            "truncation_side": "left",
            "processor_class": "SmolVLMProcessor",
            "clean_up_tokenization_spaces": False,
            **names,
            "extra_special_tokens": names,
        },
        chat_template=chats.trl("smolvlm"),
        preprocessor=_idefics_pixels("SmolVLM", side_px=512, longest_px=2048)
        | {
            "video_sampling": {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": 512}},
        },
        processor={"image_seq_len": 64, "processor_class": "SmolVLMProcessor"},
        generation={"bos_token_id": 1, "eos_token_id": 49279, "pad_token_id": 2},
    )


def idefics3() -> Checkpoint:
    """Return Idefics3 on Llama 3."""
    tokenizer = sources.npm("llama3_1")
    names = ["<fake_token_around_image>", "<image>", "<end_of_utterance>"]
    tokenizer["added_tokens"] += added_tokens(
        Added(128256 + place, name, True) for place, name in enumerate(names)
    )
    return Checkpoint(
        config=_idefics(
            "idefics3",
            "Idefics3ForConditionalGeneration",
            text={
                "vocab_size": 128259,
                "max_position_embeddings": 131072,
                "pad_token_id": 128002,
                "bos_token_id": 128000,
                "eos_token_id": 128001,
                "rope_parameters": parts.rope(5e5),
            },
            vision={"image_size": 364, "patch_size": 14},
            image_token_id=128257,
            scale_factor=2,
        ),
        tokenizer=tokenizer,
        tokenizer_config={
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|begin_of_text|>",
            "eos_token": "<|end_of_text|>",
            "pad_token": "<|end_of_text|>",
            "model_max_length": 131072,
            "processor_class": "Idefics3Processor",
            "clean_up_tokenization_spaces": True,
            "model_input_names": ["input_ids", "attention_mask"],
        },
        chat_template=chats.trl("idefics3"),
        preprocessor=_idefics_pixels("Idefics3", side_px=364, longest_px=1456),
        processor={"image_seq_len": 169, "processor_class": "Idefics3Processor"},
        generation={
            "bos_token_id": 128000,
            "eos_token_id": [128001, 128258],
            "pad_token_id": 128002,
        },
    )


def _idefics(
    kind: str, architecture: str, *, text: dict[str, Any], vision: dict[str, Any], **more: Any
) -> dict[str, Any]:
    return {
        "model_type": kind,
        "architectures": [architecture],
        **more,
        "tie_word_embeddings": False,
        "text_config": {"model_type": "llama", **parts.TEXT, **text},
        "vision_config": {"model_type": f"{kind}_vision", **parts.SIGLIP, **vision},
    }


def _idefics_pixels(kind: str, *, side_px: int, longest_px: int) -> dict[str, Any]:
    """Return an image processor that tiles pictures of up to `longest_px` into squares."""
    return parts.image_processor(
        f"{kind}ImageProcessor",
        f"{kind}Processor",
        size={"longest_edge": longest_px},
        resample=1,
        max_image_size={"longest_edge": side_px},
        do_image_splitting=True,
        do_pad=True,
        **parts.HALF_PIXELS,
    )
