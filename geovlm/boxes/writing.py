"""Writes boxes as the text that a model is to write."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from geovlm.boxes.frames import HasSizes, clip, require_frame, to_frame
from geovlm.boxes.rectangle import Box, enclosing, iou
from geovlm.errors import DataError

_RESOLVED_PX = 14.0  # one patch of Qwen2.5-VL's vision tower


def write(boxes: Iterable[Box | Sequence[float]], ctx: HasSizes) -> str:
    """Return boxes as a model should write them: `[x0, y0, x1, y1], [...]`, or `none` for no box.

    A family of order `yxyx` writes `[y0, x0, y1, x1]`. Boxes are clipped to the image. A profile
    without angles gets the enclosing box of a rotated one. Numbers are integers, as the families
    were trained, if the written box keeps an IoU of at least 0.9 with the true one; otherwise they
    have the fewest decimals that do. An integer grid guarantees 0.9 only for sides of 20 units and
    more: a 16 px object on a 2048 px image is 8 units of 0..1000 wide. Objects smaller than 14 px
    as the model sees them are below one patch of its vision tower; for them 0.5 is enough, as finer
    digits would teach guessing. Angles are rounded to whole degrees.

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
        framed = to_frame(kept, profile=profile, image_size=image_size, input_size=seen_size)
        seen_px = min(
            (kept.x1 - kept.x0) * seen_size[0] / image_size[0],
            (kept.y1 - kept.y0) * seen_size[1] / image_size[1],
        )
        corners = _round(framed[:4], min_iou=0.9 if seen_px >= _RESOLVED_PX else 0.5)
        texts.append(f"[{', '.join([*corners, *(str(round(angle)) for angle in framed[4:])])}]")
    return ", ".join(texts) or "none"


def _round(framed: Sequence[float], *, min_iou: float) -> list[str]:
    """Write the four numbers with the fewest decimals (0..4) that keep the IoU."""
    texts: list[str] = []
    for decimals in range(5):
        texts = [f"{value + 0.0:.{decimals}f}" for value in framed]
        if iou(Box(*framed), Box(*map(float, texts))) >= min_iou:
            break
    return texts
