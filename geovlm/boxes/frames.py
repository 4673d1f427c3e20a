"""Frames of boxes: stored pixels, the coordinate system of each model family, and its text.

A model writes boxes in the frame of its family (`ModelProfile.box_frame`), always of the LAST
image: `input_pixels` are pixels of the image after the processor's resize; `norm1000`, `norm100`
and `norm1` are shares of width and height. `ModelProfile.box_order` says whether x or y comes
first. Text that a model reads or writes is in that frame and order; everything else in GeoVLM is in
stored pixels, x first, and `write` and `parse` are the only border.

A change of frame keeps the angle: a resize that changes the aspect ratio (by a few percent in smart
resizing) shears a rotated box, and the four numbers scale as the corners before rotation. The order
does not touch the angle either: it stays the fifth number, and a positive one turns x towards y.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from geovlm.api import BoxFrame, BoxOrder, ModelProfile, Size
from geovlm.boxes.notations import NOTATIONS, Notation
from geovlm.boxes.rectangle import Box, enclosing
from geovlm.errors import ConfigError, DataError

FAR = 1e9
"""No image is that large; keeps sums and products of hostile numbers finite."""
_FULL = {"norm1024": 1024.0, "norm1000": 1000.0, "norm100": 100.0, "norm1": 1.0}


class HasSizes(Protocol):
    """Profile and sizes that a change of frame needs; every context of `geovlm.api` has them."""

    @property
    def profile(self) -> ModelProfile:
        """The model family."""

    @property
    def image_sizes(self) -> tuple[Size, ...]:
        """Sizes (width, height) of the stored images, pixels."""

    @property
    def input_sizes(self) -> tuple[Size, ...]:
        """Sizes (width, height) of the same images as the model sees them, pixels."""


def input_size(
    size: Size, *, profile: ModelProfile, min_pixels: int = 0, max_pixels: int | None = None
) -> Size:
    """Return the size (width, height) at which the model sees an image, pixels.

    Where GeoVLM resizes it is `picture_size`; where the processor does, `profile.seen_size`.

    Args:
        size: Width and height of the stored image, pixels.
        profile: The model family.
        min_pixels: Raises the profile's lower limit of width x height, at most to the upper one.
        max_pixels: Replaces the profile's upper limit of width x height.

    Raises:
        DataError: One side is more than 200 times the other, or a side is not positive.

    Example:
        >>> from geovlm.plugins.profiles import QWEN2_5_VL
        >>> input_size((512, 512), profile=QWEN2_5_VL)
        (504, 504)
    """
    given = picture_size(size, profile=profile, min_pixels=min_pixels, max_pixels=max_pixels)
    return given if profile.seen_size is None else profile.seen_size(given)


def picture_size(
    size: Size, *, profile: ModelProfile, min_pixels: int = 0, max_pixels: int | None = None
) -> Size:
    """Return the size (width, height) of the picture that the processor gets, pixels.

    Where GeoVLM resizes (`profile.resize`), sides become multiples of `profile.size_factor`, the
    area stays within the limits, and the aspect ratio is kept as nearly as that allows. Equal to
    transformers.models.qwen2_vl.image_processing_pil_qwen2_vl.smart_resize, 5.23. Where the
    processor resizes, it gets the stored picture, enlarged if `min_pixels` asks for more.

    Arguments and errors are those of `input_size`.
    """
    width, height = size
    if min(size) < 1 or max(size) / min(size) > 200:
        raise DataError(
            f"an image of {width} x {height} px cannot be shown to the model",
            hint="sides must be positive and at most 200 times each other; tile or skip the image",
        )
    factor = profile.size_factor
    high = profile.max_pixels if max_pixels is None else max_pixels
    if profile.resize == "processor":
        low = min(min_pixels, high)
        grow = max(1.0, math.sqrt(low / (width * height)))
        return math.ceil(width * grow), math.ceil(height * grow)
    low = min(max(profile.min_pixels, min_pixels), high)
    new = round(width / factor) * factor, round(height / factor) * factor
    if new[0] * new[1] > high:
        shrink = math.sqrt((height * width) / high)
        return (
            max(factor, math.floor(width / shrink / factor) * factor),
            max(factor, math.floor(height / shrink / factor) * factor),
        )
    if new[0] * new[1] < low:
        grow = math.sqrt(low / (height * width))
        return (
            math.ceil(width * grow / factor) * factor,
            math.ceil(height * grow / factor) * factor,
        )
    return new


def to_frame(
    box: Box | Sequence[float], *, profile: ModelProfile, image_size: Size, input_size: Size
) -> tuple[float, ...]:
    """Convert a box of stored pixels to the model's frame, unrounded and unclipped.

    Args:
        box: Four or five numbers, pixels of the stored image.
        profile: The model family; its `box_frame`, `box_order` and `box_angle` decide the result.
        image_size: Width and height of the stored image, pixels.
        input_size: Width and height at which the model sees it, pixels; see `input_size`.

    Returns:
        The four numbers in the model's frame and order, and the angle in degrees if the profile
        has angles.

    Raises:
        ConfigError: The frame of the family is not known.

    Example:
        >>> from geovlm.plugins.profiles import QWEN2_5_VL  # frame: pixels of the resized image
        >>> to_frame(
        ...     [0, 0, 256, 128], profile=QWEN2_5_VL, image_size=(512, 512), input_size=(504, 504)
        ... )
        (0.0, 0.0, 252.0, 126.0)
    """
    x, y = units_per_px(profile, image_size, input_size)
    x0, y0, x1, y1, angle = Box(*box)
    corners = in_order((x0 * x, y0 * y, x1 * x, y1 * y), order=profile.box_order)
    return (*corners, angle) if profile.box_angle else corners


def from_frame(
    numbers: Sequence[float], *, profile: ModelProfile, image_size: Size, input_size: Size
) -> Box:
    """Convert numbers of the model's frame to a box of stored pixels; the inverse of `to_frame`.

    Args:
        numbers: Four numbers in the model's frame and order, and degrees if there is a fifth.
        profile: The model family; its `box_frame` and `box_order` decide.
        image_size: Width and height of the stored image, pixels.
        input_size: Width and height at which the model sees it, pixels; see `input_size`.

    Raises:
        ConfigError: The frame of the family is not known.

    Example:
        >>> from geovlm.plugins.profiles import QWEN3_VL  # frame: 0..1000 along both sides
        >>> from_frame(
        ...     [0, 0, 500, 250], profile=QWEN3_VL, image_size=(800, 400), input_size=(800, 400)
        ... )
        Box(x0=0.0, y0=0.0, x1=400.0, y1=100.0, angle_deg=0.0)
    """
    x, y = units_per_px(profile, image_size, input_size)
    x0, y0, x1, y1 = in_order(numbers, order=profile.box_order)
    return Box(x0 / x, y0 / y, x1 / x, y1 / y, *numbers[4:])


def geochat_box(numbers: Sequence[float], *, image_size: Size, sense: Literal["cw", "ccw"]) -> Box:
    """Convert a box of GeoChat's or EarthDial's text to stored pixels, not clipped.

    The corners are percent of width and height *before* rotation. They are converted to pixels
    first and rotated there: the annotations come from rectangles in pixels, and a rotation in
    percent would shear every box of an image that is not square.

    GeoChat's own code contradicts itself on the sense of the angle (as of its release):
    `rotate_bbox`, which draws, turns counter-clockwise on screen, and so does EarthDial's scorer.
    `bbox_and_angle_to_polygon`, which nothing calls, turns clockwise, and so does the data's range
    (0, 90] of cv2.minAreaRect. Neither is a safe default, so the caller must choose.

    Args:
        numbers: x0, y0, x1, y1 in 0..100, and degrees if there is a fifth.
        image_size: Width and height of the stored image, pixels.
        sense: Direction in which a positive angle of `numbers` turns on screen, clockwise or
            counter-clockwise. The returned angle is clockwise.

    Example:
        >>> geochat_box([10, 20, 30, 40, 30], image_size=(500, 200), sense="ccw")
        Box(x0=50.0, y0=40.0, x1=150.0, y1=80.0, angle_deg=-30)
    """
    x0, y0, x1, y1, angle = Box(*numbers)
    x, y = image_size[0] / 100, image_size[1] / 100
    return Box(x0 * x, y0 * y, x1 * x, y1 * y, angle if sense == "cw" or not angle else -angle)


class Scale(NamedTuple):
    """Units of the model's frame per pixel of the stored image."""

    x: float
    y: float


class LastImage(NamedTuple):
    """Size of the stored last image in pixels, its `Scale`, and True if y comes first."""

    width: int
    height: int
    scale_x: float
    scale_y: float
    y_first: bool


def last_image(ctx: HasSizes, notation: Notation = NOTATIONS[0]) -> LastImage:
    """Return size, scale and order of the last image; all sizes are 1 without an image.

    A frame or an order that the notation names comes before the profile's.

    Raises:
        ConfigError: The frame of the family is not known, also where the notation names one: what
            the model writes next may not.
    """
    y_first = (notation.order or ctx.profile.box_order) == "yxyx"
    if not ctx.image_sizes:
        return LastImage(1, 1, 1.0, 1.0, y_first)
    size = ctx.image_sizes[-1]
    x, y = units_per_px(ctx.profile, size, ctx.input_sizes[-1])
    if notation.frame is not None:
        x, y = _FULL[notation.frame] / size[0], _FULL[notation.frame] / size[1]
    return LastImage(*size, x, y, y_first)


def units_per_px(profile: ModelProfile, image_size: Size, input_size: Size) -> Scale:
    """Return the units of the model's frame per pixel of the stored image.

    Raises:
        ConfigError: The frame of the family is not known.
    """
    full = _FULL.get(require_frame(profile))
    width, height = input_size if full is None else (full, full)
    return Scale(width / image_size[0], height / image_size[1])


def require_frame(profile: ModelProfile) -> BoxFrame:
    """Return the frame of the family's boxes.

    Raises:
        ConfigError: It is not known. It is never guessed: every figure of a run in a wrong frame
            looks like one of a run in the right frame.
    """
    if profile.box_frame is None:
        raise ConfigError(
            f"model family {profile.name}: the frame of its boxes is not known",
            hint="--set profile.box_frame=norm1000 (or norm1, norm100, input_pixels), and "
            "profile.box_order=yxyx if y comes first; no figure of a run shows a wrong one",
        )
    return profile.box_frame


def in_order(numbers: Sequence[float], *, order: BoxOrder) -> tuple[float, float, float, float]:
    """Return the first four numbers x first from `order`, or from x first in `order`.

    Example:
        >>> in_order((1, 2, 30, 40), order="yxyx")
        (2, 1, 40, 30)
    """
    a, b, c, d = numbers[:4]
    return (b, a, d, c) if order == "yxyx" else (a, b, c, d)


def clip(box: Box, size: Size) -> Box | None:
    """Clip an axis-aligned box to the image, keep a rotated one; `None` if nothing is inside."""
    x0, y0, x1, y1, angle = box
    if not (-FAR < x0 < x1 < FAR and -FAR < y0 < y1 < FAR and -FAR < angle < FAR):
        return None
    if angle:
        x0, y0, x1, y1, _ = enclosing(box)
    x0, y0 = max(x0, 0.0), max(y0, 0.0)
    x1, y1 = min(x1, size[0]), min(y1, size[1])
    if x1 <= x0 or y1 <= y0:
        return None
    return box if angle % 180 else Box(x0, y0, x1, y1)
