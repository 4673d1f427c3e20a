"""Boxes: stored pixels on our side, the model's frame on the other, and IoU between them."""

from __future__ import annotations

from geovlm.boxes.reading import (
    HasSizes,
    from_frame,
    geochat_box,
    input_size,
    parse,
    strip,
    target_boxes,
    to_frame,
    write,
)
from geovlm.boxes.rectangle import (
    Box,
    corners,
    drop_angle,
    enclosing,
    iou,
    match,
    overlap,
    rotated_iou,
)

__all__ = [
    "Box",
    "HasSizes",
    "corners",
    "drop_angle",
    "enclosing",
    "from_frame",
    "geochat_box",
    "input_size",
    "iou",
    "match",
    "overlap",
    "parse",
    "rotated_iou",
    "strip",
    "target_boxes",
    "to_frame",
    "write",
]
