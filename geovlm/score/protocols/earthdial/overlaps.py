"""Reads boxes and computes their overlaps as the published scorers do, a whole file at a time.

Rotated boxes are compared as rotated ones, in the frame in which they are given: percent of the
image in published files, pixels of the stored image in ours.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from geovlm.boxes import Box, arrays

if TYPE_CHECKING:
    import numpy as np

TIE = 1e-9
"""Tolerance of a threshold: an IoU that is 0.5 up to rounding reaches 0.5."""

LEAST_IOU = 0.25
"""Lowest threshold of any protocol; pairs below it are left out."""

_FAR = 1e9  # beyond any real box
_DIGITS = re.compile(r"\[\s*([0-9]+(?:,\s*[0-9]+)*)\s*\]")
_OTHER = re.compile(r"[-.]|\s,")
"""Marks of text that only `read_all` reads: signs, fractions, white space before a comma."""
_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?"
_NUMBERS = re.compile(rf"\[\s*({_NUMBER}(?:\s*,\s*{_NUMBER}){{3,4}})\s*\]")


class Pair(NamedTuple):
    """Two boxes of one record that overlap."""

    truth: int
    predicted: int
    iou: float


Pairs: TypeAlias = list[Pair]


class Boxes(NamedTuple):
    """The boxes of one text, as the published scorer reads them and all of them."""

    digits: list[Box | None]
    all: list[Box]


def read(text: str) -> Boxes:
    """Return the results of `read_digits` and `read_all`."""
    if _OTHER.search(text):
        return Boxes(read_digits(text), read_all(text))
    groups = [list(map(float, found.split(","))) for found in _DIGITS.findall(text)]
    boxes = [_counter_clockwise(group) if 4 <= len(group) <= 5 else None for group in groups]
    digits = [box if len(group) == 5 else None for box, group in zip(boxes, groups, strict=True)]
    return Boxes(digits, [box for box in boxes if box])


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
    its corners, as in the published scorers. Both sides have the boxes of every record.
    """
    import numpy as np

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
    shared = arrays.shared_areas(first.rows[i], second.rows[j])
    values = np.minimum(1.0, shared / (first.areas[i] + second.areas[j] - shared))
    close = values >= LEAST_IOU - TIE
    i, j = i[close], j[close]
    records = first.records[i]
    columns = (records, i - first.starts[records], j - second.starts[records], values[close])
    for record, truth, guess, value in zip(*(each.tolist() for each in columns), strict=True):
        pairs[record].append(Pair(truth, guess, value))
    return pairs


def hits(pairs: Pairs, *, threshold: float) -> int:
    """Predicted boxes whose best IoU with any true box reaches the threshold; ties count."""
    return len({pair.predicted for pair in pairs if pair.iou >= threshold - TIE})


def matches(pairs: Sequence[Pairs], *, threshold: float) -> list[int]:
    """Record -> largest number of one-to-one pairs whose IoU reaches the threshold; ties count."""
    found: list[int] = []
    contested: list[tuple[int, int, int]] = []
    for record, each in enumerate(pairs):
        close = [pair for pair in each if pair.iou >= threshold - TIE]
        rows, columns = {pair.truth for pair in close}, {pair.predicted for pair in close}
        if len(rows) == len(close) or len(columns) == len(close):
            found.append(min(len(rows), len(columns)))  # boxes of one side have one partner each
        else:
            found.append(0)
            contested += ((record, pair.truth, pair.predicted) for pair in close)
    for record, number in _matched(contested).items():
        found[record] = number
    return found


def _matched(pairs: Sequence[tuple[int, int, int]]) -> Counter[int]:
    """Record -> size of a largest matching, of pairs (record, row, column)."""
    if not pairs:
        return Counter()
    import numpy as np
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    table = np.array(pairs)
    rows, row = np.unique(table[:, :2], axis=0, return_inverse=True)
    columns, column = np.unique(table[:, ::2], axis=0, return_inverse=True)
    # records share no row and no column, so one matching over all of them holds one of each
    graph = csr_array(
        (np.ones(len(table), dtype=np.int8), (row, column)), shape=(len(rows), len(columns))
    )
    partners = maximum_bipartite_matching(graph, perm_type="column")
    return Counter(rows[partners >= 0, 0].tolist())


class _Flat:
    """The boxes of all records in one array each: rows, areas, hulls; where a record starts."""

    def __init__(self, boxes: Sequence[Sequence[Box | None]]) -> None:
        import numpy as np

        sizes = [len(each) for each in boxes]
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
        self.records = np.repeat(np.arange(len(boxes)), sizes)
        nothing = Box(0.0, 0.0, 0.0, 0.0)
        flat = [number for each in boxes for box in each for number in box or nothing]
        self.rows = np.array(flat, dtype=float).reshape(-1, 5)
        self.rows[~(np.abs(self.rows) < _FAR).all(axis=1)] = 0.0  # hostile numbers: no area
        self.areas = arrays.areas(self.rows)
        self.hulls = arrays.hulls(self.rows)
        self.hulls[self.areas <= 0] = np.nan  # compares as false with everything


def _hull_bound(first: _Flat, i: np.ndarray, second: _Flat, j: np.ndarray) -> np.ndarray:
    """Return an upper bound of the IoU: as if the boxes shared all that their hulls share."""
    import numpy as np

    a, b = first.hulls[i], second.hulls[j]
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    smaller, larger = np.sort([first.areas[i], second.areas[j]], axis=0)
    shared = np.minimum(sides.prod(axis=1), smaller)
    return shared / (smaller + larger - shared)


def _counter_clockwise(numbers: Sequence[float]) -> Box:
    x0, y0, x1, y1, *angle = numbers
    return Box(x0, y0, x1, y1, -angle[0] if angle else 0.0)
