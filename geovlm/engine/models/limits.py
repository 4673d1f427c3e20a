"""Pixel limits of a run, set by the key that an image processor has for them.

A processor names its limit as an area, as a number of tiles, slices or tokens, or as a side. Those
that make every image the same size have none, and a run that wants one is refused.
"""

from __future__ import annotations

import copy
import math
from typing import Any, NamedTuple

from geovlm.config.model import loose_limits
from geovlm.errors import ConfigError

SOFT_TOKENS = (70, 140, 280, 560, 1120)
"""Values that Gemma 4's image processor takes as `max_soft_tokens`, transformers 5.23."""
_LARGEST_SIDE_PX = 4096
"""Side to which the processors of SmolVLM and Idefics 3 shrink any image first, pixels."""


class Areas(NamedTuple):
    """Smallest and largest area at which a processor shows an image, pixels."""

    lowest: int | None = None
    highest: int | None = None


def require_whole(images: Any, *, boxed: bool, name: str) -> None:
    """Refuse boxes of a model whose image processor cuts the sides off images that are no squares.

    Shares of the image's width would be shares of a width that the model never sees. `boxed`: the
    frame of the model's boxes is known. LLaVA-1.5's processor is of this kind.

    Raises:
        ConfigError: it is such a processor; names the `name` of the model type.
    """
    if boxed and getattr(images, "do_center_crop", False):
        raise ConfigError(
            f"{name} cannot have boxes: its processor cuts images to a square, and boxes at their "
            "sides would lie outside of what the model sees",
            hint="leave out profile.box_frame, and run tasks without boxes; or set do_center_crop "
            "to false in preprocessor_config.json, if the model takes other shapes",
        )


def bound(images: Any, *, min_pixels: int | None, max_pixels: int | None, name: str) -> None:
    """Set the limits of a run in an image processor; `None` keeps its own.

    Raises:
        ConfigError: it has no key for a limit, or none of its values keeps within it; names the
            `name` of the model type.
    """
    for wanted, field in ((max_pixels, "max_pixels"), (min_pixels, "min_pixels")):
        if wanted is None:
            continue
        found = _settings(images, field, wanted)
        if found is None:
            own = areas(images).highest
            raise ConfigError(
                f"{field}={wanted} cannot be set for {name}: its processor has no such limit",
                hint=f"leave {field} out"
                + (f"; images are seen at up to {own} pixels" if own else ""),
            )
        if not all(found.values()):
            raise ConfigError(
                f"max_pixels={wanted} is below the smallest image of {name}",
                hint=f"give at least {_smallest(images)}",
            )
        for key, value in found.items():
            setattr(images, key, value)
    low, high = areas(images)
    # of two areas the upper one counts, see `boxes.picture_size`
    if not _bounds_area(images) and low is not None and high is not None and low > high:
        raise ConfigError(
            f"min_pixels {low} is above max_pixels {high} in the processor of {name}",
            hint="give both",
        )


def areas(images: Any) -> Areas:
    """Return the areas at which an image processor shows images, as far as its keys tell."""
    size = sides(images)
    if _bounds_area(images):
        frames = frames_counted(images)
        return Areas(size["shortest_edge"] // frames, size["longest_edge"] // frames)
    if _has(images, "min_patches", "max_patches"):
        return Areas(images.min_patches * _tile(images), images.max_patches * _tile(images))
    if _has(images, "max_soft_tokens"):
        return Areas(None, images.max_soft_tokens * _tile(images))
    if _has(images, "max_slice_nums"):
        return Areas(None, images.max_slice_nums * _tile(images))
    if _has(images, "image_grid_pinpoints"):
        return Areas(None, max(high * wide for high, wide in images.image_grid_pinpoints))
    if "longest_edge" in size:
        return Areas(None, size["longest_edge"] ** 2)
    if {"height", "width"} <= set(size):
        area = size["height"] * size["width"]
        return Areas(area, area)
    return Areas()


def loosen(images: Any) -> None:
    """Set limits that leave every size as it is that GeoVLM makes within the present ones."""
    low, high = areas(images)
    frames = frames_counted(images)
    lowest, highest = loose_limits(low or 1, high or 1)
    images.size = type(images.size)(
        shortest_edge=(lowest or 1) * frames, longest_edge=(highest or 1) * frames
    )


def sides(images: Any) -> dict[str, int]:
    """Return the keys of an image processor's `size` that have values; empty if it has none."""
    size = getattr(images, "size", None)
    return {key: value for key, value in dict(size or {}).items() if value is not None}


def makes_grid(images: Any) -> bool:
    """Return True if an image processor cuts an image of any multiples into a grid of patches."""
    return "image_grid_thw" in images.model_input_names


def frames_counted(images: Any) -> int:
    """Return how many frames the areas of a processor count: 2 for GLM, 1 for Qwen.

    The processor is asked how many patches it makes of a square that its limit halves.
    """
    cell = images.patch_size * images.merge_size
    asked = copy.copy(images)
    asked.size = type(images.size)(shortest_edge=1, longest_edge=(64 * cell) ** 2)
    patches = asked.get_number_of_image_patches(128 * cell, 128 * cell, {})
    return round((64 * images.merge_size) ** 2 / patches)


def _settings(images: Any, field: str, pixels: int) -> dict[str, Any] | None:
    """Return the settings that make an area a limit; one of 0 if no value keeps within it."""
    largest = field == "max_pixels"
    if _bounds_area(images):
        size = sides(images) | {
            "longest_edge" if largest else "shortest_edge": pixels * frames_counted(images)
        }
        return {"size": type(images.size)(**size)}
    if _has(images, "min_patches", "max_patches"):
        if largest:
            return {"max_patches": pixels // _tile(images)}
        return {"min_patches": math.ceil(pixels / _tile(images))}
    if not largest:
        return None
    if _has(images, "max_soft_tokens"):
        fitting = [n for n in SOFT_TOKENS if n * _tile(images) <= pixels]
        return {"max_soft_tokens": max(fitting, default=0)}
    if _has(images, "max_slice_nums"):
        return {"max_slice_nums": pixels // _tile(images)}
    if set(sides(images)) == {"longest_edge"}:
        step = images.max_image_size["longest_edge"] if _has(images, "max_image_size") else 1
        side = min(math.isqrt(pixels), _LARGEST_SIDE_PX) // step * step
        return {"size": type(images.size)(longest_edge=side)} if side else {"size": 0}
    return None


def _smallest(images: Any) -> int:
    """Return the smallest `max_pixels` that an image processor can keep."""
    if _has(images, "max_soft_tokens"):
        return SOFT_TOKENS[0] * _tile(images)
    if _has(images, "max_image_size"):
        return int(images.max_image_size["longest_edge"]) ** 2
    return _tile(images)


def _tile(images: Any) -> int:
    """Return the pixels of one of the units in which a processor counts."""
    if _has(images, "max_soft_tokens"):
        return int(images.patch_size * images.pooling_kernel_size) ** 2
    if _has(images, "max_slice_nums"):
        return int(images.scale_resolution) ** 2
    size = sides(images)
    return int(size["height"] * size["width"])


def _bounds_area(images: Any) -> bool:
    return makes_grid(images) and {"shortest_edge", "longest_edge"} <= set(sides(images))


def _has(images: Any, *names: str) -> bool:
    return all(getattr(images, name, None) is not None for name in names)
