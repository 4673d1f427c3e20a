"""Boxes as the published scorers read and compare them, a whole file at a time.

Rotated boxes go through shapely. Boxes are compared in whatever frame they are given in: percent of
the image for published files, pixels of the stored image for ours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from geovlm.boxes import Box

if TYPE_CHECKING:
    import numpy as np

TIE = 1e-9
"""An IoU this little below the threshold reaches it: 0.5 up to rounding is 0.5."""

LEAST_IOU = 0.25
"""Lowest threshold of any protocol; pairs below it are not looked at."""

_FAR = 1e9  # no box is that far out
_DIGITS = re.compile(r"\[\s*([0-9]+(?:,\s*[0-9]+)*)\s*\]")
_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?"
_NUMBERS = re.compile(rf"\[\s*({_NUMBER}(?:\s*,\s*{_NUMBER}){{3,4}})\s*\]")


class Pair(NamedTuple):
    """Two boxes of one record that overlap."""

    truth: int
    predicted: int
    iou: float


Pairs: TypeAlias = list[Pair]


def read_digits(text: str) -> list[Box | None]:
    """Boxes as EarthDial's detection scorer reads them: `[digits, …]`, no sign, no fraction.

    A group that has not five numbers counts as a box that matches nothing: `None`. Angles turn
    counter-clockwise on screen there, clockwise here. Source: hiyamdebary/EarthDial,
    src/earthdial/eval/rs_detection/eval.py, 92c1260.
    """
    groups = [[float(part) for part in found.split(",")] for found in _DIGITS.findall(text)]
    return [_counter_clockwise(group) if len(group) == 5 else None for group in groups]


def read_all(text: str) -> list[Box]:
    """Every `[x0, y0, x1, y1]` or `[x0, y0, x1, y1, angle]` of EarthDial's text, signs read too."""
    groups = _NUMBERS.findall(text)
    return [_counter_clockwise([float(part) for part in group.split(",")]) for group in groups]


def overlaps(
    truths: Sequence[Sequence[Box | None]], predicted: Sequence[Sequence[Box | None]]
) -> list[Pairs]:
    """IoU of the true and predicted boxes of the same record that reach `LEAST_IOU`.

    A box without area matches nothing, like `None`. One whose x1 < x0 or y1 < y0 is the polygon of
    its corners, as in the published scorers.

    Args:
        truths: record -> its true boxes.
        predicted: record -> its predicted boxes; as many records.
    """
    import numpy as np
    import shapely

    first, second = _Flat(truths), _Flat(predicted)
    of_truth: list[np.ndarray] = []
    of_predicted: list[np.ndarray] = []
    for record in range(len(truths)):
        a = first.hulls[first.starts[record] : first.starts[record + 1], None]
        b = second.hulls[None, second.starts[record] : second.starts[record + 1]]
        if not a.size or not b.size:
            continue
        sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
        i, j = np.nonzero((sides > 0).all(axis=-1))
        of_truth.append(i + first.starts[record])
        of_predicted.append(j + second.starts[record])
    pairs: list[Pairs] = [[] for _ in truths]
    if not of_truth:
        return pairs
    i, j = np.concatenate(of_truth), np.concatenate(of_predicted)
    possible = _hull_bound(first, i, second, j) >= LEAST_IOU - TIE
    i, j = i[possible], j[possible]
    shared = shapely.area(shapely.intersection(first.polygons[i], second.polygons[j]))
    union = first.areas[i] + second.areas[j] - shared
    values = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    for k in np.nonzero(values >= LEAST_IOU - TIE)[0].tolist():
        truth, guess = int(i[k]), int(j[k])
        record = int(first.records[truth])
        pairs[record].append(
            Pair(
                truth - int(first.starts[record]),
                guess - int(second.starts[record]),
                min(1.0, float(values[k])),
            )
        )
    return pairs


def hits(pairs: Pairs, *, threshold: float) -> int:
    """Predicted boxes whose best IoU with any true box reaches the threshold; ties count."""
    return len({pair.predicted for pair in pairs if pair.iou >= threshold - TIE})


def matches(pairs: Pairs, *, threshold: float) -> int:
    """Largest number of one-to-one pairs whose IoU reaches the threshold; ties count."""
    close = [pair for pair in pairs if pair.iou >= threshold - TIE]
    rows = {pair.truth: i for i, pair in enumerate(close)}
    columns = {pair.predicted: i for i, pair in enumerate(close)}
    if len(rows) == len(close) or len(columns) == len(close):
        return min(len(rows), len(columns))  # each box of one side has at most one partner
    import numpy as np
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    at_row = {box: i for i, box in enumerate(rows)}
    at_column = {box: i for i, box in enumerate(columns)}
    table = csr_array(
        (
            np.ones(len(close), dtype=np.int8),
            (
                [at_row[pair.truth] for pair in close],
                [at_column[pair.predicted] for pair in close],
            ),
        ),
        shape=(len(rows), len(columns)),
    )
    return int((maximum_bipartite_matching(table, perm_type="column") >= 0).sum())


class _Flat:
    """The boxes of all records in one array each: polygons, areas, hulls; where a record starts."""

    def __init__(self, boxes: Sequence[Sequence[Box | None]]) -> None:
        import numpy as np
        import shapely

        sizes = [len(each) for each in boxes]
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
        self.records = np.repeat(np.arange(len(boxes)), sizes)
        nothing = Box(0.0, 0.0, 0.0, 0.0)
        flat = [box or nothing for each in boxes for box in each]
        numbers = np.array(flat, dtype=float).reshape(-1, 5)
        numbers[~(np.abs(numbers) < _FAR).all(axis=1)] = 0.0  # hostile numbers: no area
        turn = np.radians(numbers[:, 4])[:, None]
        x = (numbers[:, 0] + numbers[:, 2])[:, None] / 2
        y = (numbers[:, 1] + numbers[:, 3])[:, None] / 2
        dx = (numbers[:, 2] - numbers[:, 0])[:, None] / 2 * np.array([-1, 1, 1, -1])
        dy = (numbers[:, 3] - numbers[:, 1])[:, None] / 2 * np.array([-1, -1, 1, 1])
        corners = np.stack(
            [
                x + dx * np.cos(turn) - dy * np.sin(turn),
                y + dx * np.sin(turn) + dy * np.cos(turn),
            ],
            axis=-1,
        )
        self.polygons = shapely.polygons(corners)
        self.areas = shapely.area(self.polygons)
        flawed = ~shapely.is_valid(self.polygons) | (self.areas <= 0)
        self.hulls = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        self.hulls[flawed] = np.nan  # compares as false with everything


def _hull_bound(first: _Flat, i: np.ndarray, second: _Flat, j: np.ndarray) -> np.ndarray:
    """No less than the IoU: the overlap of the hulls over the larger of the two areas."""
    import numpy as np

    a, b = first.hulls[i], second.hulls[j]
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    return sides.prod(axis=1) / np.maximum(first.areas[i], second.areas[j])


def _counter_clockwise(numbers: Sequence[float]) -> Box:
    x0, y0, x1, y1, *angle = numbers
    return Box(x0, y0, x1, y1, -angle[0] if angle else 0.0)
