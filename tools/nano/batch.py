"""Turns examples into tensors without the processor, much faster because all images have one size.

A test compares the result with that of the processor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from tools.nano.architecture import VISUAL_TOKENS
from tools.nano.questions import Example

_PATCH, _MERGE, _FRAMES = 14, 2, 2


def prompt(example: Example) -> str:
    """Return the chat template's text up to the assistant's turn, image tokens written out."""
    images = f"<|vision_start|>{'<|image_pad|>' * VISUAL_TOKENS}<|vision_end|>" * len(
        example.images
    )
    return f"<|im_start|>user\n{images}{example.question}<|im_end|>\n<|im_start|>assistant\n"


def pixels(images: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
    """Return `pixel_values` and `image_grid_thw` of (84, 84, 3) uint8 images."""
    stack = np.stack(images).astype(np.float32) / 255
    mean, deviation = np.array([OPENAI_CLIP_MEAN, OPENAI_CLIP_STD], np.float32)
    stack = (stack - mean) / deviation
    n, height, width, channels = stack.shape
    rows, columns = height // _PATCH, width // _PATCH
    split = stack.transpose(0, 3, 1, 2).reshape(
        n, channels, rows // _MERGE, _MERGE, _PATCH, columns // _MERGE, _MERGE, _PATCH
    )
    patches = split.transpose(0, 2, 5, 3, 6, 1, 4, 7)[:, :, :, :, :, :, None]
    patches = np.broadcast_to(patches, (*patches.shape[:6], _FRAMES, _PATCH, _PATCH))
    flat = patches.reshape(n * rows * columns, channels * _FRAMES * _PATCH * _PATCH)
    return {
        "pixel_values": torch.from_numpy(np.ascontiguousarray(flat)),
        "image_grid_thw": torch.tensor([[1, rows, columns]] * n),
    }


def collate(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, *, answers: bool
) -> dict[str, torch.Tensor]:
    """Return the model inputs of a batch.

    With `answers`, the texts follow the prompts, padding is on the right and `labels` holds the
    answer tokens (-100 elsewhere). Without them, padding is on the left, ready to generate.
    """
    vocabulary = tokenizer.get_vocab()
    pad, image_token = vocabulary["<|endoftext|>"], vocabulary["<|image_pad|>"]
    encode = tokenizer.backend_tokenizer.encode
    heads = [encode(prompt(example)).ids for example in examples]
    tails = [encode(e.text + "<|im_end|>").ids if answers else [] for e in examples]
    longest = max(len(head) + len(tail) for head, tail in zip(heads, tails, strict=True))
    ids = torch.full((len(examples), longest), pad)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    for row, (head, tail) in enumerate(zip(heads, tails, strict=True)):
        end = len(head) + len(tail)
        place = slice(0, end) if answers else slice(longest - end, longest)
        ids[row, place] = torch.tensor(head + tail)
        mask[row, place] = 1
        if answers:
            labels[row, len(head) : end] = torch.tensor(tail)
    inputs = {
        "input_ids": ids,
        "attention_mask": mask,
        "mm_token_type_ids": torch.eq(ids, image_token).long(),
        **pixels([image for example in examples for image in example.images]),
    }
    return inputs | {"labels": labels} if answers else inputs
