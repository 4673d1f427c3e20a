"""Scores labelled boxes by COCO's mean average precision, and by the reward `labelled_iou`.

As COCO's evaluation defines it (cocodataset.org/#detection-eval, pycocotools 2.0.11 `cocoeval.py`):
boxes are matched within label and image, each to the free true box of largest IoU, at IoU 0.50 to
0.95 in steps of 0.05; precision is interpolated at 101 recalls; areas of all sizes; the first 100
boxes of a label in an image count; labels without a true box are left out of the mean.

A text gives no scores to its boxes. So all boxes have the same one: within an answer they are
matched in the order in which they stand, and among answers a wrong box ranks before a right one.
The precision-recall curve is then the single point of all boxes, the average precision of a label
is `precision x (share of the 101 recalls that are reached)`, and no order of the images changes it.
pycocotools, with one score for all, breaks the ties by the order of images; it gives this value
where wrong boxes come first, else a larger one. As for COCO, boxes that name no label of the
vocabulary, or one without a true box in the corpus, do not count; `labelled_iou` counts them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from geovlm import answers, boxes
from geovlm.api import Prediction
from geovlm.boxes import Box
from geovlm.data.prompts import reward_context
from geovlm.rewards.boxes import labelled_iou
from geovlm.rewards.reading import MAX_BOXES, box_labels
from geovlm.score.metrics import Counts, Sums, kept

IOUS = tuple((50 + 5 * step) / 100 for step in range(10))
"""Least IoU of a right box."""
MOST_BOXES = 100
"""Boxes of one label in one image that count, the first ones."""
_RECALLS = 101


@kept
def box_counts(prediction: Prediction) -> Counts:
    """True, predicted and right boxes of one sample by label; rotated boxes as enclosing ones.

    The labels of true boxes are `target["box_labels"]`. Where the target has only a `label`, all
    boxes are of it.
    """
    target: Any = prediction.target
    labels = box_labels(target)
    text = answers.answer_text(prediction.completion)
    truth: dict[str, list[Box]] = defaultdict(list)
    for label, box in zip(labels, boxes.target_boxes(target), strict=True):
        truth[label].append(boxes.enclosing(box))
    found: dict[str, list[Box]] = defaultdict(list)
    if "box_labels" not in target:
        found[str(target["label"])] = list(boxes.parse(text, prediction, limit=MAX_BOXES))
    else:
        vocabulary = list(map(str, target.get("vocabulary") or sorted(set(labels))))
        for each in boxes.parse_labelled(text, prediction, vocabulary=vocabulary, limit=MAX_BOXES):
            if each.label is not None:
                found[each.label].append(each.box)
    counts: Counts = {"n": 1.0}
    for label in truth.keys() | found.keys():
        own = [boxes.enclosing(box) for box in found[label][:MOST_BOXES]]
        counts[f"truth:{label}"] = float(len(truth[label]))
        counts[f"found:{label}"] = float(len(own))
        for least, hits in zip(IOUS, _hits(truth[label], own), strict=True):
            counts[f"hits{100 * least:.0f}:{label}"] = float(hits)
    if "box_labels" in target:
        (value,) = labelled_iou(
            [prediction.completion], [reward_context(prediction, profile=prediction.profile)]
        )
        counts["iou"] = value if text else 0.0
    return counts


def box_scores(sums: Sums) -> Sums:
    """`map` (mean over IoU 0.50 to 0.95), `map50` (at IoU 0.50), also by label; all 0 to 1.

    `map/<label>` and `map50/<label>` are NaN for a label without a true box, and the means are over
    the other labels. `labelled_iou` is the mean over samples of the reward of that name, but 0 for
    a sample without an answer; only where true boxes have labels of their own.
    """
    import numpy as np

    names = [key.removeprefix("truth:") for key in sums if key.startswith("truth:")]
    scores: dict[str, Any] = {}
    for name in sorted(names):
        by_iou = [_average_precision(sums, name, f"hits{100 * least:.0f}") for least in IOUS]
        scores[f"map/{name}"], scores[f"map50/{name}"] = np.mean(by_iou, axis=0), by_iou[0]
    means = {}
    for metric in ("map", "map50"):
        own = [value for key, value in scores.items() if key.startswith(f"{metric}/")]
        known = [~np.isnan(value) for value in own]
        total = sum((np.nan_to_num(value) for value in own), 0.0 * sums["n"])
        n = sum(known, 0.0 * sums["n"])
        means[metric] = np.where(n > 0, total / np.where(n > 0, n, 1), np.nan)
    if "iou" in sums:
        means["labelled_iou"] = sums["iou"] / sums["n"]
    return means | scores


def _average_precision(sums: Sums, label: str, hits: str) -> Any:
    """Return the average precision of a label at one IoU; NaN without a true box."""
    import numpy as np

    truth, found, right = (sums[f"{key}:{label}"] for key in ("truth", "found", hits))
    recall = right / np.where(truth > 0, truth, 1)
    precision = right / np.where(found > 0, found, 1)
    reached = np.searchsorted(np.linspace(0, 1, _RECALLS), recall, side="right") / _RECALLS
    return np.where(truth > 0, precision * reached, np.nan)


def _hits(truth: Sequence[Box], found: Sequence[Box]) -> list[int]:
    """Return the number of right boxes at each IoU of `IOUS`.

    Each box takes the free true box of largest IoU, the last one of equals, as pycocotools does.
    """
    table = [[boxes.iou(one, other) for other in truth] for one in found]
    right = []
    for least in IOUS:
        free = list(range(len(truth)))
        for row in table:
            best = max(free, key=lambda i: (row[i], i), default=None)
            if best is not None and row[best] >= min(least, 1 - 1e-10):
                free.remove(best)
        right.append(len(truth) - len(free))
    return right
