"""Merges LoRA adapters into the weights while completions are written, and puts the weights back.

An adapter adds two small matrix products to each layer and token, and each costs about as much time
as the layer's own. Merged, a layer is one product again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn


def refusal(model: nn.Module) -> str:
    """Return why the adapters of a model cannot be merged without a loss; empty if they can.

    In bfloat16 the sum is rounded, and the completions would be those of another policy than the
    one that is scored; weights of 4 bits cannot be added to.
    """
    for layer in _layers(model):
        for weight in layer.get_base_layer().parameters(recurse=False):
            if weight.dtype != torch.float32:
                return f"weights are {str(weight.dtype).removeprefix('torch.')}"
    return ""


@contextlib.contextmanager
def merged(model: nn.Module) -> Iterator[None]:
    """Run the block with all active adapters in the weights; a model without adapters stays.

    Merging is done on copies, so the weights are afterwards what they were, to the bit and in the
    same memory. Subtracting would leave rounding in them, once per generation. The copies are as
    large as the weights that have adapters. Dropout of adapters has no effect in the block.
    """
    layers = _layers(model)
    kept: dict[int, tuple[nn.Parameter, torch.Tensor]] = {}
    try:
        with torch.no_grad():
            for layer in layers:
                for weight in layer.get_base_layer().parameters(recurse=False):
                    if id(weight) not in kept:  # fused experts have a wrapper for each weight
                        kept[id(weight)] = (weight, weight.data)
                        weight.data = weight.data.clone()
            for layer in layers:
                layer.merge()
        yield
    finally:
        for layer in layers:
            layer.merged_adapters.clear()
        for weight, own in kept.values():
            weight.data = own


def _layers(model: nn.Module) -> list[Any]:
    return [each for each in model.modules() if isinstance(each, BaseTunerLayer)]
