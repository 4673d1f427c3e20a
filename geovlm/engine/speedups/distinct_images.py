"""Passes each distinct image of a batch through the vision tower once.

RSVQA has a hundred questions about one image, and all completions of a prompt have the same
images. The features are those of the ordinary way, copied to the rows.
"""

from __future__ import annotations

import inspect
from types import MethodType
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel


def share(model: PreTrainedModel) -> bool:
    """Let a model compute the features of equal images once; returns whether it can.

    It can if its images come as patches with `image_grid_thw`, as in the Qwen-VL families.
    """
    inner: Any = model.base_model
    method = getattr(type(inner), "get_image_features", None)
    if method is None or "image_grid_thw" not in inspect.signature(method).parameters:
        return False
    inner.get_image_features = MethodType(_features, inner)
    return True


def _features(self: Any, pixel_values: Tensor, image_grid_thw: Tensor, **kwargs: Any) -> Any:
    """Stand in for the model's own method: all images' features from those of distinct ones."""
    ordinary = type(self).get_image_features
    firsts, which = distinct(pixel_values, image_grid_thw)
    if len(firsts) == len(which):
        return ordinary(self, pixel_values, image_grid_thw, **kwargs)
    chosen = image_grid_thw.new_tensor(firsts)
    patches = pixel_values.split(image_grid_thw.prod(dim=-1).tolist())
    output = ordinary(
        self,
        torch.cat([patches[i] for i in firsts]),
        image_grid_thw[chosen],
        **kwargs,
    )
    output.pooler_output = tuple(output.pooler_output[i] for i in which)
    if getattr(output, "deepstack_features", None) is not None:
        output.deepstack_features = [
            tuple(level[i] for i in which) for level in output.deepstack_features
        ]
    return output


def distinct(pixel_values: Tensor, image_grid_thw: Tensor) -> tuple[list[int], list[int]]:
    """Return the first of each kind of image, and for every image the place of its kind there.

    The patches of all images lie one below the other; grids are (time, height, width) in patches.
    """
    grids = image_grid_thw.tolist()
    patches = pixel_values.split(image_grid_thw.prod(dim=-1).tolist())
    sums = torch.stack([each.sum(dtype=torch.float32) for each in patches]).tolist()
    firsts: list[int] = []
    which: list[int] = []
    alike: dict[tuple[float, ...], list[int]] = {}
    for i, image in enumerate(patches):
        places = alike.setdefault((sums[i], *grids[i]), [])
        place = next((p for p in places if torch.equal(patches[firsts[p]], image)), None)
        if place is None:
            place = len(firsts)
            places.append(place)
            firsts.append(i)
        which.append(place)
    return firsts, which
