"""Facts about samples and answers that explain a score: sizes of objects, unreadable answers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from geovlm import answers, boxes
from geovlm.engine.rows.rows import Row

SMALL_PX = 4
"""Side below which an object is small, pixels of the image as the model sees it."""


def objects(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Return how large the boxes of targets are for the model; `None` if there are none.

    A side is the square root of a box's area, pixels of the last image at its input size.

    Returns:
        `n` boxes, `median_px`, and `small_share`, the share with a side under `small_px`.
    """
    sides = []
    for row in rows:
        found = boxes.target_boxes(row.target)
        if found:
            (width, height), (seen_width, seen_height) = row.image_sizes[-1], row.input_sizes[-1]
            scale = math.sqrt(seen_width / width * seen_height / height)
            sides += [scale * math.sqrt((b.x1 - b.x0) * (b.y1 - b.y0)) for b in found]
    if not sides:
        return None
    return {
        "n": len(sides),
        "small_px": SMALL_PX,
        "small_share": sum(side < SMALL_PX for side in sides) / len(sides),
        "median_px": statistics.median(sides),
    }


def unreadable(texts: Sequence[str]) -> float:
    """Return the share of completions that have no answer block with content."""
    return sum(not answers.answer_text(text) for text in texts) / len(texts)
