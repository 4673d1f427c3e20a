"""Turns examples into tensors without the processor, much faster because all images have one size.

A test compares the result with that of the processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from tools.nano.architecture import PATCH_PX, TOKENS_ACROSS, VISUAL_TOKENS
from tools.nano.questions import Example

_MERGE, _FRAMES = 2, 2


class Pack(NamedTuple):
    """Places with several questions each; every question sees its place and itself alone."""

    ids: torch.Tensor
    """(places, length) token ids: images first, then one question with its answer after another."""
    positions: torch.Tensor
    """(3, places, length): each question begins where the images end."""
    mask: torch.Tensor
    """(places, 1, length, length): True where a token (row) sees another."""
    is_image: torch.Tensor
    """(places, length): True for visual tokens."""
    labels: torch.Tensor
    """(places, length): the next token where it belongs to an answer, -100 elsewhere."""
    pixel_values: torch.Tensor
    image_grid_thw: torch.Tensor


def head(n_images: int) -> str:
    """Return the chat template's text up to the end of the images, image tokens written out."""
    image = f"<|vision_start|>{'<|image_pad|>' * VISUAL_TOKENS}<|vision_end|>"
    return f"<|im_start|>user\n{image * n_images}"


def tail(question: str) -> str:
    """Return the chat template's text from the question to the assistant's turn."""
    return f"{question}<|im_end|>\n<|im_start|>assistant\n"


def prompt(example: Example) -> str:
    """Return the chat template's text up to the assistant's turn, image tokens written out."""
    return head(len(example.images)) + tail(example.question)


def pixels(images: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
    """Return `pixel_values` and `image_grid_thw` of (84, 84, 3) uint8 images."""
    stack = np.stack(images).astype(np.float32) / 255
    mean, deviation = np.array([OPENAI_CLIP_MEAN, OPENAI_CLIP_STD], np.float32)
    stack = (stack - mean) / deviation
    n, height, width, channels = stack.shape
    rows, columns = height // PATCH_PX, width // PATCH_PX
    split = stack.transpose(0, 3, 1, 2).reshape(
        n, channels, rows // _MERGE, _MERGE, PATCH_PX, columns // _MERGE, _MERGE, PATCH_PX
    )
    patches = split.transpose(0, 2, 5, 3, 6, 1, 4, 7)[:, :, :, :, :, :, None]
    patches = np.broadcast_to(patches, (*patches.shape[:6], _FRAMES, PATCH_PX, PATCH_PX))
    flat = patches.reshape(n * rows * columns, channels * _FRAMES * PATCH_PX * PATCH_PX)
    return {
        "pixel_values": torch.from_numpy(np.ascontiguousarray(flat)),
        "image_grid_thw": torch.tensor([[1, rows, columns]] * n),
    }


def prompts(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase
) -> dict[str, torch.Tensor]:
    """Return the model inputs of a batch of prompts, padded on the left, ready to generate."""
    vocabulary = tokenizer.get_vocab()
    encode = tokenizer.backend_tokenizer.encode
    rows = [encode(prompt(example)).ids for example in examples]
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), vocabulary["<|endoftext|>"])
    mask = torch.zeros_like(ids)
    for row, own in enumerate(rows):
        ids[row, longest - len(own) :] = torch.tensor(own)
        mask[row, longest - len(own) :] = 1
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "mm_token_type_ids": torch.eq(ids, vocabulary["<|image_pad|>"]).long(),
        **pixels([image for example in examples for image in example.images]),
    }


def pack(
    images: Sequence[Sequence[np.ndarray]],
    examples: Sequence[Sequence[Example]],
    tokenizer: PreTrainedTokenizerBase,
) -> Pack:
    """Return places and the questions about each, which may be none, as one batch."""
    vocabulary = tokenizer.get_vocab()
    image_token = vocabulary["<|image_pad|>"]
    encode = tokenizer.backend_tokenizer.encode
    heads = [encode(head(len(own))).ids for own in images]
    turns = [
        [(encode(tail(e.question)).ids, encode(e.text + "<|im_end|>").ids) for e in own]
        for own in examples
    ]
    longest = max(
        len(first) + sum(len(asked) + len(said) for asked, said in own)
        for first, own in zip(heads, turns, strict=True)
    )
    shape = (len(heads), longest)
    ids = torch.full(shape, vocabulary["<|endoftext|>"])
    labels = torch.full(shape, -100)
    segment = torch.full(shape, -1)
    positions = torch.zeros((3, *shape), dtype=torch.long)
    for row, (first, own) in enumerate(zip(heads, turns, strict=True)):
        at = len(first)
        ids[row, :at], segment[row, :at] = torch.tensor(first), 0
        positions[:, row, :at], start = _head_positions(first, image_token)
        for number, (asked, said) in enumerate(own, 1):
            end = at + len(asked) + len(said)
            ids[row, at:end] = torch.tensor(asked + said)
            segment[row, at:end] = number
            positions[:, row, at:end] = start + torch.arange(end - at)
            labels[row, at + len(asked) - 1 : end - 1] = torch.tensor(said)
            at = end
    causal = torch.ones(longest, longest).tril().bool()
    same = (segment[:, None, :] == segment[:, :, None]) | (segment[:, None, :] == 0)
    return Pack(
        ids=ids,
        positions=positions,
        mask=(same & causal)[:, None],
        is_image=torch.eq(ids, image_token),
        labels=labels,
        **pixels([image for own in images for image in own]),
    )


def _head_positions(ids: Sequence[int], image_token: int) -> tuple[torch.Tensor, int]:
    """Return positions (3, length) of text and images as Qwen2.5-VL counts them, and the next."""
    columns: list[tuple[int, int, int]] = []
    at, seen = 0, 0
    for token in ids:
        if token != image_token:
            columns.append((at, at, at))
            at += 1
            continue
        row, column = divmod(seen, TOKENS_ACROSS)
        columns.append((at, at + row, at + column))
        seen += 1
        if seen == VISUAL_TOKENS:
            at, seen = at + TOKENS_ACROSS, 0
    return torch.tensor(columns).T, at
