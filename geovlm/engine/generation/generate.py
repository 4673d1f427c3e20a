"""Generates the completions of a batch of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from geovlm.api import ModelProfile
from geovlm.config.control_tokens import TAGS
from geovlm.data.prompts import visual_tokens
from geovlm.engine.rows import rendering, tokens
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
            suppress_tokens=image_tokens(processor),
        )
    model.train(was_training)
    return tokens.texts(processor, output[:, inputs["input_ids"].shape[1] :])


def lengths(processor: Any, *, profile: ModelProfile) -> Callable[[Row], int]:
    """Return a function that counts the tokens of a row's prompt, without its chat template."""
    escape = tokens.control_tokens(processor).escape

    def length(row: Row) -> int:
        words = processor.tokenizer(escape(row.question), add_special_tokens=False)["input_ids"]
        return len(words) + visual_tokens(row.picture_sizes, profile=profile)

    return length


def encode(processor: Any, rows: Sequence[Row], *, cache: ImageCache) -> Any:
    """Return the model inputs of the rows' prompts, padded on the left."""
    control = tokens.control_tokens(processor)
    images = [pictures(row, cache=cache) for row in rows]
    return processor(
        text=[rendering.prompt(processor, messages(row, tokens=control)) for row in rows],
        images=images if any(images) else None,
        padding=True,
        padding_side="left",
        add_special_tokens=False,  # the template writes them
        return_tensors="pt",
    )


def image_tokens(processor: Any) -> list[int] | None:
    """Return the ids of placeholder tokens, which a completion must never contain.

    Those are the ones that the processor or its tokenizer names, and those that the chat template
    writes for an image; but none that is in a prompt without images, and none that ends a turn.
    """
    tokenizer = processor.tokenizer
    chat = rendering.Chat.of(processor)
    seen, blind = (
        rendering.prompt(processor, rendering.messages("", images=images)) for images in (1, 0)
    )
    named = tokens.placeholders(processor)
    found = [
        number
        for number, each in tokenizer.added_tokens_decoder.items()
        if (each.content in named or (each.special and each.content in seen))
        and each.content not in f"{blind}{chat.end}"
        and each.content not in TAGS
        and number not in chat.stops
    ]
    return sorted(found) or None
