"""Lets windows and images of equal size attend in one call.

Without flash attention, the vision towers of the Qwen-VL families take the windows of all images
(64 of them for four images of 448 pixels) one after the other through attention, in every layer.
Here those of equal length are one batch: the same numbers with few, larger operations.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import pairwise
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.weak import WeakTensorKeyDictionary
from transformers import AttentionInterface, PreTrainedModel

NAME = "sdpa_equal_lengths"
"""Name of the tower's attention in the registry of transformers."""


def batch(tower: PreTrainedModel) -> bool:
    """Let a vision tower attend to sequences of equal length together; returns whether it can.

    It can if its attention is torch's own (`sdpa`) and takes `cu_seqlens`.
    """
    layers = [module for module in tower.modules() if _takes_sequences(module)]
    if not layers or tower.config._attn_implementation != "sdpa":
        return False
    AttentionInterface.register(NAME, _attend)
    tower.set_attn_implementation(NAME)
    known = WeakTensorKeyDictionary()
    for layer in layers:
        layer.forward = MethodType(_forward(type(layer).forward, known), layer)
    return True


def undo(tower: PreTrainedModel) -> None:
    """Let every sequence attend by itself again."""
    tower.set_attn_implementation("sdpa")
    for module in tower.modules():
        if _takes_sequences(module):
            del module.forward


def _takes_sequences(module: torch.nn.Module) -> bool:
    return hasattr(module, "qkv") and "cu_seqlens" in inspect.signature(module.forward).parameters


def _forward(ordinary: Callable[..., Tensor], known: WeakTensorKeyDictionary) -> Any:
    """Return a layer's forward that gives the ordinary one all sequences as a single one."""

    def forward(self: Any, hidden_states: Tensor, cu_seqlens: Tensor, **kwargs: Any) -> Tensor:
        groups = known.get(cu_seqlens)  # all layers of a pass are given the same tensor
        if groups is None:
            groups = known[cu_seqlens] = equal_lengths(cu_seqlens)
        whole = torch.tensor([0, len(hidden_states)])  # on the CPU, where it is going to be read
        return ordinary(self, hidden_states, cu_seqlens=whole, groups=groups, **kwargs)

    return forward


def equal_lengths(cu_seqlens: Tensor) -> list[Tensor]:
    """Return the places of the tokens of sequences, those of equal length together.

    The sequences end at `cu_seqlens`, from 0 on, shape (sequences + 1,). There is one tensor of
    int64 per length L, shape (sequences, L).
    """
    ends = cu_seqlens.tolist()
    by_length: dict[int, list[int]] = {}
    for start, end in pairwise(ends):
        if end > start:  # windows beyond an image's edge are empty
            by_length.setdefault(end - start, []).append(start)
    return [
        torch.tensor(starts, device=cu_seqlens.device)[:, None]
        + torch.arange(length, device=cu_seqlens.device)
        for length, starts in by_length.items()
    ]


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    *,
    groups: list[Tensor],
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Return what every token attends to in its own sequence, shape (1, tokens, heads, width).

    Query, key and value have the shape (1, heads, tokens, width); `groups` are those of
    `equal_lengths`.
    """
    found = query.new_empty(query.shape)
    for places in groups:
        q, k, v = (each[0][:, places].transpose(0, 1) for each in (query, key, value))
        attended = scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scaling)
        found[0, :, places] = attended.transpose(0, 1)
    return found.transpose(1, 2).contiguous(), None
