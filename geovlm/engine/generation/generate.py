"""Generates the completions of a batch of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from geovlm.api import ModelProfile
from geovlm.data.prompts import visual_tokens
from geovlm.engine.rows import tokens
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Row, messages, pictures


def complete(
    model: Any,
    processor: Any,
    rows: Sequence[Row],
    *,
    cache: ImageCache,
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> list[str]:
    """Return one completion per row, see `geovlm.engine.rows.tokens.texts`, in their order.

    The state of torch's random generators stays as it was. Temperature 0 decodes greedily.
    """
    was_training = model.training
    model.eval()
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        torch.manual_seed(seed)
        inputs = encode(processor, rows, cache=cache).to(model.device)
        output = model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            do_sample=temperature > 0,
            temperature=temperature or None,
            top_k=0 if temperature > 0 else None,
            top_p=1.0 if temperature > 0 else None,
            repetition_penalty=1.0,
            suppress_tokens=image_tokens(model),
        )
    model.train(was_training)
    return tokens.texts(processor, output[:, inputs["input_ids"].shape[1] :])


def lengths(processor: Any, *, profile: ModelProfile) -> Callable[[Row], int]:
    """Return a function that counts the tokens of a row's prompt, without its chat template."""
    escape = tokens.control_tokens(processor).escape

    def length(row: Row) -> int:
        words = processor.tokenizer(escape(row.question), add_special_tokens=False)["input_ids"]
        return len(words) + visual_tokens(row.input_sizes, profile=profile)

    return length


def encode(processor: Any, rows: Sequence[Row], *, cache: ImageCache) -> Any:
    """Return the model inputs of the rows' prompts, padded on the left."""
    control = tokens.control_tokens(processor)
    texts = [
        processor.apply_chat_template(
            messages(row, tokens=control), tokenize=False, add_generation_prompt=True
        )
        for row in rows
    ]
    images = [picture for row in rows for picture in pictures(row, cache=cache)]
    return processor(
        text=texts, images=images, padding=True, padding_side="left", return_tensors="pt"
    )


def image_tokens(model: Any) -> list[int] | None:
    """Return the ids of placeholder tokens, which a completion must never contain."""
    ids = [
        getattr(model.config, name, None)
        for name in ("image_token_id", "video_token_id", "vision_start_token_id")
    ]
    return [token for token in ids if token is not None] or None
