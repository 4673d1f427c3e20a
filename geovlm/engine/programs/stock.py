"""Answers samples with an exported folder, by torch, transformers and Pillow, without GeoVLM.

python -m geovlm.engine.programs.stock MODEL ASKS.json ANSWERS.json

`AutoProcessor` is used where it can be: for the Qwen-VL family it needs torchvision, for videos.
Without, its two parts are loaded and put together here as the stock class does for images.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
)

Encode = Callable[[str, list[Image.Image]], Any]
"""(question, images) -> model inputs of one sample."""


def main(folder: str, asks: Path, answers: Path) -> None:
    """Answer every question of `asks` and write answers, prompts and the names of the classes."""
    transformers.logging.disable_progress_bar()
    asked = json.loads(asks.read_text(encoding="utf-8"))
    # a processor would resize a picture that has its final size once more
    encode, decode, classes = load_processor(
        folder, **({"do_resize": False} if asked["sized"] else {})
    )
    model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype="auto")
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    completions, prompts = [], []
    for ask in asked["asks"]:
        images = [Image.open(path).convert("RGB") for path in ask["images"]]
        inputs = encode(ask["question"], images).to(model.device)
        length = inputs["input_ids"].shape[1]
        output = model.generate(**inputs)
        prompts.append(inputs["input_ids"][0].tolist())
        completions.append(asked["begun"] + decode(output[0, length:], skip_special_tokens=True))
    found = {
        "answers": completions,
        "prompts": prompts,
        "classes": [*classes, f"AutoModelForImageTextToText ({type(model).__name__})"],
    }
    answers.write_text(json.dumps(found, ensure_ascii=False, allow_nan=False), encoding="utf-8")


def load_processor(folder: str, **settings: Any) -> tuple[Encode, Callable[..., str], list[str]]:
    """Return the functions that encode and decode, and the names of their classes."""
    try:
        processor = AutoProcessor.from_pretrained(folder)
    except ImportError as error:
        if "torchvision" not in str(error).lower():
            raise
        return _parts(folder, **settings)

    def encode(question: str, images: list[Image.Image]) -> Any:
        prompt = processor.apply_chat_template(
            _messages(question, images), tokenize=False, add_generation_prompt=True
        )
        # images as one list per prompt, and no special tokens but those of the template
        return processor(
            text=[prompt],
            images=[images] if images else None,
            add_special_tokens=False,
            return_tensors="pt",
            **settings,
        )

    return encode, processor.decode, [f"AutoProcessor ({type(processor).__name__})"]


def _parts(folder: str, **settings: Any) -> tuple[Encode, Callable[..., str], list[str]]:
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    pixels = AutoImageProcessor.from_pretrained(folder)
    token_id = transformers.AutoConfig.from_pretrained(folder).image_token_id
    token = tokenizer.convert_ids_to_tokens(token_id)

    def encode(question: str, images: list[Image.Image]) -> Any:
        prompt = tokenizer.apply_chat_template(
            _messages(question, images), tokenize=False, add_generation_prompt=True
        )
        seen = pixels(images=images, return_tensors="pt", **settings)
        first, *others = prompt.split(token)
        counts = seen["image_grid_thw"].prod(-1) // pixels.merge_size**2
        text = first + "".join(
            token * int(n) + rest for n, rest in zip(counts, others, strict=True)
        )
        inputs = tokenizer([text], add_special_tokens=False, return_tensors="pt")
        inputs["mm_token_type_ids"] = (inputs["input_ids"] == token_id).long()
        return inputs | seen

    names = [f"AutoTokenizer ({type(tokenizer).__name__})"]
    return encode, tokenizer.decode, [*names, f"AutoImageProcessor ({type(pixels).__name__})"]


def _messages(question: str, images: list[Image.Image]) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = [{"type": "image"} for _ in images]
    return [{"role": "user", "content": [*content, {"type": "text", "text": question}]}]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
