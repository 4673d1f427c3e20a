"""Answers samples with an exported folder, by torch, transformers and Pillow, without GeoVLM.

python -m geovlm.engine.programs.stock MODEL ASKS.json ANSWERS.json

`AutoProcessor` is used where it can be: for most families it needs torchvision, for videos. Without
it, tokenizer and image processor are loaded, and the stock class is built of them.
"""

from __future__ import annotations

import inspect
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
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

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
        name = "AutoProcessor"
    except ImportError as error:
        if not any(each in str(error).lower() for each in ("torchvision", "num2words")):
            raise
        processor = _without_videos(folder)
        name = "AutoTokenizer, AutoImageProcessor"

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

    return encode, processor.decode, [f"{name} ({type(processor).__name__})"]


class _Absent:
    """Stands for the part of a processor that reads videos or sound: it has no settings."""

    model_input_names: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> None:
        if name.startswith("_"):
            raise AttributeError(name)


def _without_videos(folder: str) -> Any:
    """Return the stock class of a processor, built of the two parts that images and text need."""
    config = transformers.AutoConfig.from_pretrained(folder)
    named, _ = transformers.ProcessorMixin.get_processor_dict(folder)
    images = AutoImageProcessor.from_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    stated = json.loads((Path(folder) / "tokenizer_config.json").read_text(encoding="utf-8"))
    stock: Any = getattr(transformers, stated.get("processor_class", ""), None)
    stock = stock or PROCESSOR_MAPPING[type(config)]
    module = sys.modules[stock.__module__]
    if getattr(module, "num2words", True) is None:
        module.num2words = str  # type: ignore[attr-defined]  # of a video's frames
    kind: Any = type(stock.__name__, (stock,), {"check_argument_for_proper_class": lambda *_: None})
    parts = {"image_processor": images, "tokenizer": tokenizer}
    known = inspect.signature(stock.__init__).parameters
    own = {key: value for key, value in named.items() if key in known and key not in parts}
    own |= {name: _Absent() for name in kind.get_attributes() if name not in parts}
    return kind(**parts, **own | {"chat_template": tokenizer.chat_template})


def _messages(question: str, images: list[Image.Image]) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = [{"type": "image"} for _ in images]
    return [{"role": "user", "content": [*content, {"type": "text", "text": question}]}]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
