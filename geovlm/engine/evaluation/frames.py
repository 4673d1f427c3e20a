"""Compares the frame and order of the model family with the boxes that a model writes.

A wrong frame is taught and scored alike, so no score shows it. What a model writes before it is
trained does: its boxes lie on objects in the frame that it was pre-trained with, and nowhere else.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_args

from geovlm.api import BoxFrame, BoxOrder, ModelProfile
from geovlm.data.prompts import reward_context
from geovlm.engine.rows.rows import Row
from geovlm.rewards.boxes import detection

LEAST = 16
"""Images with an object; of fewer, a good fit may be chance."""
BETTER, TIMES = 0.1, 2.0
"""Another frame must raise the mean IoU by this much, and to this multiple, to be named."""


def fits(rows: Sequence[Row], texts: Sequence[str], *, profile: ModelProfile) -> dict[str, float]:
    """Return, for each frame and order, how well the boxes of whole completions lie on objects.

    It is the mean, over images with an object, of the best IoU of each true box, in [0, 1]. Empty
    if the task is not answered with boxes, the family's frame is not known, or there are fewer than
    `LEAST` such images. Tags do not count, as an untrained model may not write them.

    Returns:
        Names such as `norm1000 xyxy` -> the mean; that of the family comes first.
    """
    chosen = [
        (row, f"<answer>{text.replace('<answer>', ' ').replace('</answer>', ' ')}</answer>")
        for row, text in zip(rows, texts, strict=True)
        if row.target.get("boxes") and "answer" not in row.target
    ]
    if len(chosen) < LEAST or profile.box_frame is None:
        return {}
    own = (profile.box_frame, profile.box_order)
    found: dict[str, float] = {}
    for frame, order in (own, *itertools.product(get_args(BoxFrame), get_args(BoxOrder))):
        family = replace(profile, box_frame=frame, box_order=order)
        contexts = [reward_context(row, profile=family) for row, _ in chosen]
        if f"{frame} {order}" not in found:
            values = detection([text for _, text in chosen], contexts)
            found[f"{frame} {order}"] = statistics.fmean(values)
    return found


def doubt(fitted: Mapping[str, float], *, task: str) -> str | None:
    """Return the sentence to warn with if another frame or order fits clearly better."""
    if not fitted:
        return None
    own, mine = next(iter(fitted.items()))
    best = max(fitted, key=lambda name: fitted[name])
    if fitted[best] < max(mine + BETTER, TIMES * mine):
        return None
    frame, order = best.split()
    return (
        f"task {task}: the boxes that the model writes lie on objects as {best} (mean IoU "
        f"{fitted[best]:.2f}), not as {own} ({mine:.2f}); was it pre-trained with "
        f"--set profile.box_frame={frame} --set profile.box_order={order}?"
    )
