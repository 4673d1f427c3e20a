"""Facts about samples and answers that explain a score: sizes of objects, unreadable answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from geovlm import answers, boxes
from geovlm.data.objects import View, measure
from geovlm.engine.rows.rows import Row


def objects(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Return how large the boxes of targets are for the model; `None` if there are none.

    They are the fields of `geovlm.data.objects.Sizes`.
    """
    found = measure(
        View(boxes.target_boxes(row.target), row.image_sizes[-1], row.input_sizes[-1])
        for row in rows
    )
    return found.as_json() if found is not None else None


def unreadable(texts: Sequence[str]) -> float:
    """Return the share of completions that have no answer block with content."""
    return sum(not answers.answer_text(text) for text in texts) / len(texts)
