"""Boxes: frames, text, overlap. One representation inside, converted at the border.

Inside, a box is in pixels of the stored image, x to the right, y down, half-open. What a model reads
and writes is in its family's frame (`ModelProfile.box_frame`). With several images a box belongs to
the last one.

Rotated boxes: `x0, y0, x1, y1` describe the box before it is turned about its own centre by
`angle_deg` degrees, positive clockwise on the screen.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from geovlm.api import ModelProfile, Size
from geovlm.errors import DataError

if TYPE_CHECKING:
    from shapely import Polygon

MAX_CHARS = 20_000
MAX_ASPECT = 200
"""Longest side over shortest side that the Qwen processors accept."""

_UNITS = {"norm1000": 1000.0, "norm100": 100.0, "norm1": 1.0}
_FINE = 1 / 20
"""A unit that is coarser than this share of a box's shorter side gets a decimal."""
_VALUE = r"[-+]?[0-9]{1,9}(?:\.[0-9]{1,9})?"
_LIST = re.compile(rf"[\[(]\s*({_VALUE}(?:\s*,\s*{_VALUE}){{3,4}})\s*[\])]")
_GEOCHAT = re.compile(rf"\{{((?:\s*<\s*{_VALUE}\s*>){{4}})\s*(?:\|\s*<\s*({_VALUE})\s*>)?\s*\}}")
_NUMBER = re.compile(_VALUE)


class Box(NamedTuple):
    """A box in pixels of the stored image."""

    x0: float
    y0: float
    x1: float
    y1: float
    angle_deg: float = 0.0


class HasSizes(Protocol):
    """What the conversion needs: prompts, rewards and metrics all have it."""

    @property
    def profile(self) -> ModelProfile:
        """The model family."""
        ...

    @property
    def image_sizes(self) -> tuple[Size, ...]:
        """Sizes of the stored images."""
        ...

    @property
    def input_sizes(self) -> tuple[Size, ...]:
        """Sizes of the same images as the model sees them."""
        ...


def input_size(
    size: Size, *, profile: ModelProfile, min_pixels: int = 0, max_pixels: int | None = None
) -> Size:
    """Return the size at which the model sees an image: the Qwen processors' resize, exactly.

    Sides become multiples of the profile's factor, the area is kept between its limits, the aspect
    as near as that allows.

    Args:
        size: width and height of the stored image.
        profile: factor and limits.
        min_pixels: raises the profile's lower limit, up to its upper one.
        max_pixels: lowers the profile's upper limit.

    Raises:
        DataError: one side is more than 200 times the other.
    """
    width, height = size
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise DataError(
            f"an image of {width}x{height} px is more than {MAX_ASPECT} times longer than wide",
            hint="crop or tile it",
        )
    most = profile.max_pixels if max_pixels is None else min(profile.max_pixels, max_pixels)
    least = min(max(profile.min_pixels, min_pixels), most)
    factor = profile.size_factor
    rounded_height = max(factor, round(height / factor) * factor)
    rounded_width = max(factor, round(width / factor) * factor)
    if rounded_height * rounded_width > most:
        beta = math.sqrt(height * width / most)
        rounded_height = max(factor, math.floor(height / beta / factor) * factor)
        rounded_width = max(factor, math.floor(width / beta / factor) * factor)
    elif rounded_height * rounded_width < least:
        beta = math.sqrt(least / (height * width))
        rounded_height = math.ceil(height * beta / factor) * factor
        rounded_width = math.ceil(width * beta / factor) * factor
    return rounded_width, rounded_height


def to_frame(
    box: Sequence[float], *, profile: ModelProfile, image_size: Size, input_size: Size
) -> tuple[float, ...]:
    """Return the four numbers of a box in the model's frame, not rounded."""
    per_x, per_y = _scale(profile, image_size=image_size, input_size=input_size)
    return (box[0] * per_x, box[1] * per_y, box[2] * per_x, box[3] * per_y)


def from_frame(
    numbers: Sequence[float], *, profile: ModelProfile, image_size: Size, input_size: Size
) -> Box:
    """Return the box of four or five numbers in the model's frame; the inverse of `to_frame`."""
    per_x, per_y = _scale(profile, image_size=image_size, input_size=input_size)
    angle = float(numbers[4]) if len(numbers) > 4 else 0.0
    x0, y0, x1, y1 = numbers[:4]
    return Box(x0 / per_x, y0 / per_y, x1 / per_x, y1 / per_y, angle)


def write(found: Iterable[Sequence[float]], ctx: HasSizes) -> str:
    """Write boxes as a model of this family says them: `[x0, y0, x1, y1], […]`; `none` for none.

    Numbers are integers, as the families use them; a box whose shorter side is under twenty units of
    the frame gets one decimal, or small objects would be lost to rounding. A fifth number, the angle,
    is written only if the profile speaks angles; otherwise a rotated box becomes its enclosing box.
    """
    texts = []
    for each in found:
        box = Box(*each)
        if box.angle_deg and not ctx.profile.box_angle:
            box = enclosing(box)
        numbers = to_frame(
            box,
            profile=ctx.profile,
            image_size=ctx.image_sizes[-1],
            input_size=ctx.input_sizes[-1],
        )
        texts.append(_write_one(numbers, box, ctx))
    return ", ".join(texts) if texts else "none"


def parse(text: str, ctx: HasSizes, *, limit: int = 256) -> tuple[Box, ...]:
    """Return the boxes that a text holds, in pixels of the stored last image.

    Reads `[a, b, c, d]` and `[a, b, c, d, angle]`, nested or juxtaposed, as they are or inside JSON
    (`"bbox_2d"`), and GeoChat's `{<a><b><c><d>|<angle>}`. Numbers are in the model's frame. Boxes are
    clipped to the image; what is empty then, or turned inside out, is dropped.

    Args:
        text: any text; never raises.
        ctx: frame and sizes.
        limit: at most so many boxes are read.
    """
    if not ctx.image_sizes:
        return ()
    width, height = ctx.image_sizes[-1]
    per_x, per_y = _scale(
        ctx.profile, image_size=ctx.image_sizes[-1], input_size=ctx.input_sizes[-1]
    )
    boxes = []
    for numbers in _numbers(text[:MAX_CHARS])[:limit]:
        x0 = min(max(numbers[0] / per_x, 0.0), width)
        y0 = min(max(numbers[1] / per_y, 0.0), height)
        x1 = min(max(numbers[2] / per_x, 0.0), width)
        y1 = min(max(numbers[3] / per_y, 0.0), height)
        if x1 > x0 and y1 > y0:
            boxes.append(Box(x0, y0, x1, y1, numbers[4] if len(numbers) > 4 else 0.0))
    return tuple(boxes)


def strip(text: str) -> str:
    """Return the text without its boxes, white space collapsed."""
    return " ".join(_GEOCHAT.sub(" ", _LIST.sub(" ", text[:MAX_CHARS])).split())


def target_boxes(target: Mapping[str, Any]) -> tuple[Box, ...]:
    """Return `target["boxes"]` as boxes; none if the target has no such field."""
    return tuple(Box(*numbers) for numbers in target.get("boxes") or ())


def geochat_box(
    numbers: Sequence[float], *, image_size: Size, sense: Literal["cw", "ccw"]
) -> Box | None:
    """Return the box of GeoChat's numbers, or `None` if it is empty.

    The numbers are percent of the stored image's sides and degrees. They are converted to pixels
    before the turn, because a turn in percent of unequal sides is no rotation. GeoChat's own code
    contradicts itself about the sense (its drawing turns counter-clockwise on the screen, its unused
    polygon helper clockwise), hence the argument.
    """
    width, height = image_size
    x0, x1 = numbers[0] * width / 100, numbers[2] * width / 100
    y0, y1 = numbers[1] * height / 100, numbers[3] * height / 100
    if x1 <= x0 or y1 <= y0:
        return None
    angle = float(numbers[4]) if len(numbers) > 4 else 0.0
    return Box(x0, y0, x1, y1, angle if sense == "cw" else -angle)


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two axis-aligned boxes, in [0, 1]; angles are not looked at."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    if wide <= 0 or high <= 0:
        return 0.0
    both = wide * high
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return min(1.0, both / union) if union > 0 else 0.0


def polygon(box: Box) -> Polygon:
    """Return the rotated box as a polygon, pixels."""
    from shapely import box as rectangle
    from shapely.affinity import rotate

    flat = rectangle(box.x0, box.y0, box.x1, box.y1)
    # shapely turns counter-clockwise with y up; with y down the same turn looks clockwise
    return rotate(flat, box.angle_deg, origin="center")


def rotated_iou(a: Box, b: Box) -> float:
    """Intersection over union of two rotated boxes, in [0, 1]."""
    one, other = polygon(a), polygon(b)
    union = one.union(other).area
    return min(1.0, one.intersection(other).area / union) if union > 0 else 0.0


def enclosing(box: Box) -> Box:
    """Return the smallest axis-aligned box around a rotated one."""
    if not box.angle_deg:
        return box
    turn = math.radians(box.angle_deg)
    half_w, half_h = (box.x1 - box.x0) / 2, (box.y1 - box.y0) / 2
    wide = abs(half_w * math.cos(turn)) + abs(half_h * math.sin(turn))
    high = abs(half_w * math.sin(turn)) + abs(half_h * math.cos(turn))
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    return Box(x - wide, y - high, x + wide, y + high)


def drop_angle(box: Box) -> Box:
    """Return the box as if it had not been rotated."""
    return box._replace(angle_deg=0.0)


def match(
    truth: Sequence[Sequence[float]], predicted: Sequence[Sequence[float]]
) -> list[tuple[int, int, float]]:
    """Match one-to-one for the largest sum of IoUs; returns (truth, predicted, IoU) with IoU > 0.

    Rotated boxes are compared as rotated boxes.
    """
    if not truth or not predicted:
        return []
    from scipy.optimize import linear_sum_assignment

    table = [[overlap(a, b) for b in predicted] for a in truth]
    rows, columns = linear_sum_assignment(table, maximize=True)
    pairs = ((int(i), int(j), table[i][j]) for i, j in zip(rows, columns, strict=True))
    return [pair for pair in pairs if pair[2] > 0]


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the IoU of two boxes, through polygons only if one of them is rotated."""
    if (len(a) > 4 and a[4]) or (len(b) > 4 and b[4]):
        return rotated_iou(Box(*a), Box(*b))
    return iou(a, b)


def _scale(profile: ModelProfile, *, image_size: Size, input_size: Size) -> tuple[float, float]:
    """Return units of the model's frame per pixel of the stored image, along x and y."""
    if profile.box_frame == "input_pixels":
        return input_size[0] / image_size[0], input_size[1] / image_size[1]
    unit = _UNITS[profile.box_frame]
    return unit / image_size[0], unit / image_size[1]


def _write_one(numbers: Sequence[float], box: Box, ctx: HasSizes) -> str:
    shorter = min(numbers[2] - numbers[0], numbers[3] - numbers[1])
    frame = ctx.profile.box_frame
    if frame == "norm1":
        texts = [f"{value:.4f}" for value in numbers]
    elif frame != "input_pixels" and shorter * _FINE < 1:
        texts = [f"{value:.1f}".removesuffix(".0") for value in numbers]
    else:
        texts = [str(round(value)) for value in numbers]
    if ctx.profile.box_angle:
        texts.append(str(round(box.angle_deg)))
    return f"[{', '.join(texts)}]"


@lru_cache(maxsize=8192)
def _numbers(text: str) -> tuple[tuple[float, ...], ...]:
    """Return the groups of four or five numbers that a text holds, in order, unconverted."""
    found = [(m.start(), m.group(1)) for m in _LIST.finditer(text)]
    found += [
        (m.start(), f"{m.group(1)} {m.group(2) or ''}") for m in _GEOCHAT.finditer(text)
    ]
    found.sort()
    return tuple(tuple(float(v) for v in _NUMBER.findall(group)) for _, group in found)
