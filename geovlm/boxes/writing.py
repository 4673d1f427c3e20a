"""Writes boxes as the text that a model is to write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from geovlm.boxes.frames import HasSizes, clip, from_frame, require_frame, to_frame
from geovlm.boxes.rectangle import Box, enclosing, overlap
from geovlm.errors import DataError

_RESOLVED_PX = 14.0  # one patch of Qwen2.5-VL's vision tower
_OBJECT_PX = 16.0 - 1e-6  # but for what a difference of two numbers loses
_DECIMALS = 9
"""Most decimals of a number; nine resolve a pixel of the largest image that `FAR` allows."""


def write(boxes: Iterable[Box | Sequence[float]], ctx: HasSizes) -> str:
    """Return boxes as a model should write them: `[x0, y0, x1, y1], [...]`, or `none` for no box.

    A family of order `yxyx` writes `[y0, x0, y1, x1]`. Boxes are clipped to the image. A profile
    without angles gets the enclosing box of a rotated one.

    Numbers are integers, as the families were trained, if the written box keeps an IoU of at least
    0.9 with the true one; otherwise they have the fewest decimals that do. An integer grid
    guarantees 0.9 only for sides of 20 units and more: a 16 px object on a 2048 px image is 8 units
    of 0..1000 wide. That holds for objects of 16 px of the stored image, and for those that the
    model sees with 14 px, one patch of its vision tower. For smaller ones 0.5 is enough, as finer
    digits would teach guessing. An image that the resize shrinks a lot costs digits for objects
    that the model hardly sees; a wider margin would cost a correct answer its score. Angles are
    whole degrees, with decimals where the IoU needs them.

    Args:
        boxes: Four or five numbers each, pixels of the stored last image.
        ctx: Holds profile and sizes; the last image counts.

    Raises:
        ConfigError: The frame of the family is not known; also where there is no box, so that a run
            stops before it begins and not at the first image with an object.
        DataError: A box has no area inside the image.

    Example:
        >>> from geovlm.api import PromptContext
        >>> from geovlm.plugins.profiles import QWEN3_VL
        >>> size = (800, 400)
        >>> ctx = PromptContext(profile=QWEN3_VL, image_sizes=(size,), input_sizes=(size,))
        >>> write([Box(0, 0, 400, 100)], ctx)
        '[0, 0, 500, 250]'
        >>> write([], ctx)
        'none'
    """
    profile, image_size, seen_size = ctx.profile, ctx.image_sizes[-1], ctx.input_sizes[-1]
    require_frame(profile)
    texts = []
    for numbers in boxes:
        box = Box(*numbers)
        kept = clip(box if profile.box_angle else enclosing(box), image_size)
        if kept is None:
            raise DataError(
                f"box {tuple(box)} has no area inside its image of "
                f"{image_size[0]} x {image_size[1]} px",
                hint="leave it out when loading the data set, with LoadContext.skip",
            )
        sides = kept.x1 - kept.x0, kept.y1 - kept.y0
        seen_px = min(
            sides[0] * seen_size[0] / image_size[0], sides[1] * seen_size[1] / image_size[1]
        )
        clear = min(sides) >= _OBJECT_PX or seen_px >= _RESOLVED_PX
        texts.append(f"[{', '.join(_round(kept, ctx, min_iou=0.9 if clear else 0.5))}]")
    return ", ".join(texts) or "none"


def _round(box: Box, ctx: HasSizes, *, min_iou: float) -> list[str]:
    """Return the numbers of a box in the model's frame with the fewest decimals that keep the IoU.

    The IoU is that of the box read back, in stored pixels; of a rotated box it is that of the
    rotated rectangles, where half a unit along a long object lies across a thin one.
    """
    sizes = {"image_size": ctx.image_sizes[-1], "input_size": ctx.input_sizes[-1]}
    framed = to_frame(box, profile=ctx.profile, **sizes)
    texts: list[str] = []
    for decimals in range(_DECIMALS + 1):
        corners = [f"{value + 0.0:.{decimals}f}" for value in framed[:4]]
        for of_angle in dict.fromkeys((0, decimals)) if framed[4:] else (0,):
            texts = [*corners, *(f"{angle + 0.0:.{of_angle}f}" for angle in framed[4:])]
            again = from_frame([float(text) for text in texts], profile=ctx.profile, **sizes)
            if overlap(box, again) >= min_iou:
                return texts
    return texts
