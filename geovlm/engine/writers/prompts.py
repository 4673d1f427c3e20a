"""Prompts as vLLM gets them, which expands the placeholder of each image itself."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from geovlm.api import ModelProfile
from geovlm.data.prompts import visual_tokens
from geovlm.engine.rows import rendering, tokens
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Row, messages, pictures

_SEEDS = 2**31
"""Seeds are below it."""


class Prompt(NamedTuple):
    """The prompt of one row."""

    ids: list[int]
    """Token ids with one placeholder per image."""
    images: list[Any]
    """PIL, RGB, at the sizes at which the processor gets them."""

    def for_vllm(self) -> dict[str, Any]:
        """Return it as `vllm.LLM.generate` takes it."""
        given: dict[str, Any] = {"prompt_token_ids": self.ids}
        if self.images:
            given["multi_modal_data"] = {"image": self.images}
        return given


def of(processor: Any, rows: Sequence[Row], *, cache: ImageCache) -> list[Prompt]:
    """Return the prompts of rows, as `generate.encode` writes them before images are expanded."""
    return [
        Prompt(ids, pictures(row, cache=cache))
        for ids, row in zip(ids_of(processor, rows), rows, strict=True)
    ]


def ids_of(processor: Any, rows: Sequence[Row]) -> list[list[int]]:
    """Return the token ids of rows' prompts, with one placeholder per image."""
    control = tokens.control_tokens(processor)
    texts = [rendering.prompt(processor, messages(row, tokens=control)) for row in rows]
    if not texts:
        return []
    ids: list[list[int]] = processor.tokenizer(texts, add_special_tokens=False)["input_ids"]
    return ids


def longest(processor: Any, rows: Sequence[Row], *, profile: ModelProfile) -> int:
    """Return at least the tokens of the longest prompt, those of its images included."""
    alike: dict[tuple[str, Any], Row] = {(row.question, row.picture_sizes): row for row in rows}
    distinct = list(alike.values())
    return max(
        (
            len(ids) + visual_tokens(row.picture_sizes, profile=profile)
            for ids, row in zip(ids_of(processor, distinct), distinct, strict=True)
        ),
        default=1,
    )


def most_images(rows: Sequence[Row]) -> int:
    """Return the largest number of images in one row, at least 1."""
    return max((len(row.images) for row in rows), default=1) or 1


def seed_of(seed: int, row: Row) -> int:
    """Return a row's own seed, so that its answer does not depend on the rows beside it."""
    digest = hashlib.sha256(f"{seed}\t{row.key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % _SEEDS
