"""Computes a prompt once for all completions of its group.

Generation begins with a pass over the prompts, in which all rows of a group are equal. Here that
pass has one row per distinct prompt; its keys, values and logits of the next token are copied to
the rows of the group. Positions are those of the ordinary way: they are computed before, for all
rows.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_OF_ROWS = ("input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids")
_OF_IMAGES = ("pixel_values", "image_grid_thw", "mm_encoder_outputs")
_OF_THE_CALL = ("past_key_values", "use_cache", "logits_to_keep", "return_dict")
_KNOWN = {*_OF_ROWS, *_OF_IMAGES, *_OF_THE_CALL, "position_ids"}


@contextmanager
def shared(
    model: nn.Module, groups: Sequence[Sequence[int]], n_images: Sequence[int]
) -> Iterator[None]:
    """Let the next `generate` of a model compute each prompt once.

    Nothing changes for a model that keeps anything else than keys and values of every token, or
    takes more than token ids and images of the Qwen-VL families. `groups` hold the positions of
    rows with the same prompt and images, each row once.
    """
    which = [0] * len(n_images)
    for number, group in enumerate(groups):
        for row in group:
            which[row] = number
    firsts = [group[0] for group in groups]
    state = {"called": False, "narrowed": False}

    def narrow(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if state["called"]:
            return None
        state["called"] = True
        if args or not _can_narrow(kwargs):
            return None
        state["narrowed"] = True
        return args, _chosen(kwargs, firsts, n_images)

    def widen(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if state["narrowed"]:
            state["narrowed"] = False
            places = torch.tensor(which, device=output.logits.device)
            output.logits = output.logits[places]
            output.past_key_values.batch_select_indices(places)
        return output

    handles = [
        model.register_forward_pre_hook(narrow, with_kwargs=True),
        model.register_forward_hook(widen),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _can_narrow(kwargs: Mapping[str, Any]) -> bool:
    cache = kwargs.get("past_key_values")
    mask = kwargs.get("attention_mask")
    features = kwargs.get("mm_encoder_outputs") or {}
    return (
        {name for name, value in kwargs.items() if value is not None} <= _KNOWN
        and type(cache) is DynamicCache
        and all(type(layer) is DynamicLayer for layer in cache.layers)
        and cache.get_seq_length() == 0
        and (mask is None or (isinstance(mask, Tensor) and mask.ndim == 2))
        and ("pixel_values" not in kwargs or "image_grid_thw" in kwargs)
        and set(features) <= {"image"}
        and all(isinstance(each.pooler_output, list | tuple) for each in features.values())
    )


def _chosen(
    kwargs: Mapping[str, Any], rows: Sequence[int], n_images: Sequence[int]
) -> dict[str, Any]:
    """Return the arguments of a pass over some of its rows."""
    chosen = dict(kwargs)
    ends = torch.tensor([0, *n_images]).cumsum(0).tolist()
    images = [i for row in rows for i in range(ends[row], ends[row + 1])]
    places = torch.tensor(rows, device=kwargs["input_ids"].device)
    for name in _OF_ROWS:
        if kwargs.get(name) is not None:
            chosen[name] = kwargs[name][places]
    if kwargs.get("position_ids") is not None:  # (rows, tokens), or (axes, rows, tokens)
        chosen["position_ids"] = kwargs["position_ids"].index_select(-2, places)
    if kwargs.get("pixel_values") is not None:
        grids = kwargs["image_grid_thw"]
        patches = kwargs["pixel_values"].split(grids.prod(dim=-1).tolist())
        chosen["pixel_values"] = torch.cat([patches[i] for i in images])
        chosen["image_grid_thw"] = grids[torch.tensor(images, device=grids.device)]
    if kwargs.get("mm_encoder_outputs"):
        features = copy.copy(kwargs["mm_encoder_outputs"]["image"])
        features.pooler_output = [features.pooler_output[i] for i in images]
        if getattr(features, "deepstack_features", None) is not None:
            features.deepstack_features = [
                [level[i] for i in images] for level in features.deepstack_features
            ]
        chosen["mm_encoder_outputs"] = {"image": features}
    return chosen
