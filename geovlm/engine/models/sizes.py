"""Sizes and tokens of images as a checkpoint's processor makes them.

A family whose processor resizes images by itself gets the stored picture. The sizes at which the
model sees it, and the tokens that it becomes, are those of the processor.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image
from transformers.models.gemma4.image_processing_pil_gemma4 import get_aspect_ratio_preserving_size
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas

from geovlm.api import ModelProfile, Size
from geovlm.engine.models import limits
from geovlm.errors import ConfigError

_KEPT = 100_000
"""Sizes whose tokens are kept."""
_TRIED: tuple[Size, ...] = ((320, 240), (1500, 500), (1000, 2000))
"""Sizes at which a processor's own count is compared with what it makes."""


def bind(profile: ModelProfile, processor: Any, config: Any) -> ModelProfile:
    """Return the profile of a family with the limits, sizes and tokens of a processor.

    `config` is the configuration of the model.

    Raises:
        ConfigError: GeoVLM should resize, and the processor does not take images of any size.
    """
    images = processor.image_processor
    low, high = limits.areas(images)
    profile = dataclasses.replace(
        profile, min_pixels=low or profile.min_pixels, max_pixels=high or profile.max_pixels
    )
    if profile.resize == "processor":
        return dataclasses.replace(
            profile,
            image_tokens=counter(processor, config),
            seen_size=functools.lru_cache(_KEPT)(functools.partial(seen_size, processor)),
        )
    if not limits.makes_grid(images):
        raise ConfigError(
            f"the profile {profile.name!r} lets GeoVLM resize images, and the processor of the "
            f"model, {type(images).__name__}, resizes them again",
            hint='state resize="processor" in the profile',
        )
    return dataclasses.replace(profile, size_factor=images.patch_size * images.merge_size)


def counter(processor: Any, config: Any) -> Counter:
    """Return the function that counts the tokens of the images of a prompt.

    A configuration names the token that stands for a piece of an image; else the processor does.
    """
    own = getattr(config, "image_token_id", None)
    return Counter(processor, token_id=processor.image_token_id if own is None else own)


def seen_size(processor: Any, size: Size) -> Size:
    """Return the size at which a processor shows an image that it gets at a size.

    Of tiles it is the size of all together, without the overview beside them. Where an image is
    seen at several sizes, or in a padded part, it is the size that the processor gets.
    """
    images = processor.image_processor
    width, height = size
    own = limits.sides(images)
    if limits.makes_grid(images):
        made = images.preprocess([_blank(size)], return_tensors="np")
        _, rows, columns = made["image_grid_thw"][0].tolist()
        return columns * images.patch_size, rows * images.patch_size
    if hasattr(images, "max_patches"):
        tile = own["height"], own["width"]
        if not _passed(processor).get("crop_to_patches", images.crop_to_patches):
            return tile[1], tile[0]
        columns, rows = get_optimal_tiled_canvas(
            (height, width), tile, images.min_patches, images.max_patches
        )
        return columns * tile[1], rows * tile[0]
    if hasattr(images, "max_soft_tokens"):
        high, wide = get_aspect_ratio_preserving_size(
            height,
            width,
            patch_size=images.patch_size,
            max_patches=images.max_soft_tokens * images.pooling_kernel_size**2,
            pooling_kernel_size=images.pooling_kernel_size,
        )
        return wide, high
    if hasattr(images, "max_image_size"):
        _, rows, columns = images.get_number_of_image_patches(height, width, {})
        side = images.max_image_size["longest_edge"]
        return max(columns, 1) * side, max(rows, 1) * side
    is_tiled = hasattr(images, "image_grid_pinpoints") or hasattr(images, "max_slice_nums")
    if {"height", "width"} <= set(own) and not is_tiled:
        return own["width"], own["height"]
    return size


class Counter:
    """Counts the tokens of the images of a prompt, as the processor makes them.

    The processor runs on blank images. Where the number of its tiles, or its own count for vLLM,
    gives the same at some sizes, that is taken: it needs no pixels.
    """

    def __init__(self, processor: Any, *, token_id: int) -> None:
        self._processor = processor
        self._token_id = token_id
        self._of = functools.lru_cache(_KEPT)(self._made)

    def __call__(self, sizes: Sequence[Size]) -> int:
        """Return the tokens of the images of one prompt, which the processor gets at `sizes`."""
        if len(sizes) < 2 or self._adds_up:
            return sum(self._one(size) for size in sizes)
        return self._of(tuple(sizes))

    @functools.cached_property
    def _one(self) -> Callable[[Size], int]:
        """The function that counts the tokens of a single image."""
        made = {size: self._of((size,)) for size in _TRIED}
        tiles, stated = self._tiles, self._stated
        if tiles is not None:
            per_tile = made[_TRIED[0]] // tiles(_TRIED[0])
            if all(per_tile * tiles(size) == tokens for size, tokens in made.items()):
                return lambda size: per_tile * tiles(size)
        if stated is not None and all(stated(size) == tokens for size, tokens in made.items()):
            return stated
        return lambda size: self._of((size,))

    @property
    def _tiles(self) -> Callable[[Size], int] | None:
        """The function that counts the tiles of an image, with an overview; at least 1."""
        counted = getattr(self._processor.image_processor, "get_number_of_image_patches", None)
        if counted is None:
            return None
        settings = _passed(self._processor)

        def tiles(size: Size) -> int:
            found = counted(size[1], size[0], settings)
            return max(1, found[0] if isinstance(found, tuple) else found)

        return tiles

    @property
    def _stated(self) -> Callable[[Size], int] | None:
        """The processor's count for vLLM, which may include the tokens beside an image."""
        stated = getattr(self._processor, "_get_num_multimodal_tokens", None)
        if stated is None:
            return None
        return lambda size: int(stated(image_sizes=[(size[1], size[0])]).num_image_tokens[0])

    @functools.cached_property
    def _adds_up(self) -> bool:
        """True if several images of a prompt are as many tokens as each in a prompt of its own."""
        return self._of(_TRIED[:2]) == sum(map(self._one, _TRIED[:2]))

    def _made(self, sizes: tuple[Size, ...]) -> int:
        """Return the tokens that the processor makes of blank images."""
        (ids,) = _inputs(self._processor, sizes)["input_ids"]
        return sum(int(each) == self._token_id for each in ids)


def patches_per_token(processor: Any, *, token_id: int, patch: int) -> float:
    """Return how many patches the vision tower reads for one token, those of padding included.

    It is that of one square image of 1024 px; `patch` is the side of a patch, pixels.
    """
    made = _inputs(processor, [(1024, 1024)], return_tensors="pt")
    tokens = int((made["input_ids"] == token_id).sum())
    return made["pixel_values"].numel() / (3 * patch**2) / tokens


def _inputs(processor: Any, sizes: Sequence[Size], **options: Any) -> Any:
    """Return what a processor makes of a prompt with blank images."""
    content = [{"type": "image"} for _ in sizes]
    text = (
        processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
        if processor.chat_template
        else processor.image_token * len(sizes)
    )
    return processor(
        text=[text],
        images=[[_blank(size) for size in sizes]],
        resample=Image.Resampling.NEAREST,  # the fastest; a blank image stays blank
        do_rescale=False,
        do_normalize=False,
        **options,
    )


def _passed(processor: Any) -> dict[str, Any]:
    """Return the settings that a processor passes with every image, such as InternVL's tiling."""
    return dict(getattr(processor, "images_kwargs", {}))


def _blank(size: Size) -> Image.Image:
    return Image.new("RGB", size)
