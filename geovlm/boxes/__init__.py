"""Boxes in pixels, in a model's frame and in text."""

from __future__ import annotations

from geovlm.boxes.frames import (
    HasSizes,
    from_frame,
    geochat_box,
    input_size,
    picture_size,
    require_frame,
    to_frame,
)
from geovlm.boxes.labels import Labelled, parse_labelled, write_labelled
from geovlm.boxes.notations import NOTATIONS, Notation
from geovlm.boxes.reading import parse, phrases, read_back, strip, target_boxes
from geovlm.boxes.rectangle import (
    Box,
    Match,
    corners,
    drop_angle,
    enclosing,
    iou,
    match,
    overlap,
    rotated_iou,
)
from geovlm.boxes.writing import write

__all__ = [
    "NOTATIONS",
    "Box",
    "HasSizes",
    "Labelled",
    "Match",
    "Notation",
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
    "parse_labelled",
    "phrases",
    "picture_size",
    "read_back",
    "require_frame",
    "rotated_iou",
    "strip",
    "target_boxes",
    "to_frame",
    "write",
    "write_labelled",
]
