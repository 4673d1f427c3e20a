"""A model that always answers correctly, in the place of a checkpoint's own.

It answers in tokens: what the correct answer loses on its way through the family's tokenizer,
decoding, parser and frame is seen in its scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
import torch
import transformers

from geovlm import answers
from geovlm.api import ModelProfile, Turn
from geovlm.data.prompts import visual_tokens
from geovlm.engine.generation import generate
from geovlm.engine.rows.rows import Row


class Tokens(NamedTuple):
    """Tokens of the images of one prompt: as GeoVLM counts them, and as the processor made them."""

    said: int
    made: int


@contextmanager
def answering(profile: ModelProfile) -> Iterator[list[Tokens]]:
    """Let every model answer the rows that are encoded for it correctly, and end there.

    Yields a list that receives the tokens of the images of each prompt.
    """
    asked: list[tuple[Any, Sequence[Row]]] = []
    counted: list[Tokens] = []
    real = generate.encode

    def encode(processor: Any, rows: Sequence[Row], **more: Any) -> Any:
        asked.append((processor, rows))
        return real(processor, rows, **more)

    def answer(model: Any, *, input_ids: torch.Tensor, **_: object) -> torch.Tensor:
        processor, rows = asked[-1]
        tokenizer = processor.tokenizer
        # Gemma 3's processor names the token that begins an image, its model that of a piece
        token = getattr(model.config, "image_token_id", None) or processor.image_token_id
        made = (input_ids == token).sum(dim=1).tolist()
        said = [visual_tokens(row.input_sizes, profile=profile) for row in rows]
        counted.extend(map(Tokens, said, made))
        prompts = tokenizer.batch_decode(input_ids)
        ends = model.generation_config.eos_token_id
        end = ends[0] if isinstance(ends, list) else ends
        answered = [
            [*tokenizer(rest(row, prompt), add_special_tokens=False)["input_ids"], end]
            for row, prompt in zip(rows, prompts, strict=True)
        ]
        longest = max(map(len, answered))
        padded = torch.tensor([ids + [end] * (longest - len(ids)) for ids in answered])
        return torch.cat([input_ids, padded.to(input_ids.device)], dim=1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generate, "encode", encode)
        patch.setattr(transformers.GenerationMixin, "generate", answer)
        yield counted


def rest(row: Row, prompt: str) -> str:
    """Return what a model has still to write of the correct answer behind a prompt."""
    gold = answers.frame(Turn(question="", reasoning=row.reasoning, answer=row.answer))
    if not prompt.rstrip().endswith("<think>"):
        return gold
    return gold.removeprefix("<think>").lstrip()
