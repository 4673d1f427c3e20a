"""Computes the rewards of boxes; the boxes of a whole batch are read and compared in arrays.

They compare axis-aligned boxes: a rotated box is replaced by its enclosing box or, with the option
`hbb = "drop"`, loses its angle. Values are in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from geovlm import answers
from geovlm.api import RewardContext
from geovlm.boxes import arrays, reading
from geovlm.boxes.labels import read_labelled
from geovlm.rewards.reading import MAX_BOXES, box_labels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float64]
    Counts: TypeAlias = NDArray[np.intp]

_PAIRS = 1 << 15
"""Pairs of boxes whose IoU is computed at once; a table that fits the cache is twice as fast."""


class _Ragged(NamedTuple):
    """Boxes of many samples, one sample after the other."""

    rows: Array
    """`(n, 4)`, stored pixels."""
    counts: Counts
    """`(samples,)`, the number of boxes of each sample."""


def detection(completions: Sequence[str], contexts: Sequence[RewardContext]) -> list[float]:
    """Mean over the true boxes of the best IoU with any predicted box; extra boxes cost nothing.

    No true box: 1 if none is predicted, else 0. Source: R_Detection of arXiv 2509.25026.

    >>> from types import SimpleNamespace
    >>> from geovlm.plugins.profiles import QWEN2_5_VL
    >>> size = ((280, 280),)
    >>> ctx = SimpleNamespace(
    ...     target={"boxes": [[0, 0, 56, 56], [140, 140, 280, 280]]}, options={},
    ...     image_sizes=size, input_sizes=size, profile=QWEN2_5_VL,
    ... )
    >>> detection(["<answer>[0, 0, 56, 56], [0, 0, 280, 280]</answer>"], [ctx])
    [0.625]
    """
    truth, found = _read(completions, contexts)
    sums = [
        total
        for tables in _tables(truth, found)
        for total in tables.max(axis=2).sum(axis=1).tolist()
    ]
    return [
        min(1.0, total / n) if n else float(not m)
        for total, n, m in zip(sums, truth.counts.tolist(), found.counts.tolist(), strict=True)
    ]


def matched_iou(completions: Sequence[str], contexts: Sequence[RewardContext]) -> list[float]:
    """Sum of IoUs of the best one-to-one matching over the larger count; both empty: 1.

    Extra and missing boxes cost. The matching is scipy's `linear_sum_assignment`.

    >>> from types import SimpleNamespace
    >>> from geovlm.plugins.profiles import QWEN2_5_VL
    >>> size = ((280, 280),)
    >>> ctx = SimpleNamespace(
    ...     target={"boxes": [[0, 0, 56, 56]]}, options={},
    ...     image_sizes=size, input_sizes=size, profile=QWEN2_5_VL,
    ... )
    >>> matched_iou(["<answer>[0, 0, 56, 56], [0, 0, 280, 280]</answer>"], [ctx])
    [0.5]
    """
    from scipy.optimize import linear_sum_assignment

    truth, found = _read(completions, contexts)
    sizes = zip(truth.counts.tolist(), found.counts.tolist(), strict=True)
    values = []
    for tables in _tables(truth, found):
        for table, (n, m) in zip(tables, sizes, strict=False):  # the tables end first
            if not n or not m:
                values.append(float(n == m))
                continue
            pairs = linear_sum_assignment(table[:n, :m], maximize=True)
            values.append(min(1.0, sum(table[pairs].tolist()) / max(n, m)))
    return values


def labelled_iou(completions: Sequence[str], contexts: Sequence[RewardContext]) -> list[float]:
    """Sum of IoUs of the best one-to-one matching within each label, over the boxes that it needs.

    A label needs as many boxes as the larger of its true and predicted counts, so that extra and
    missing boxes cost, and a wrong label costs as both. Predicted boxes without one label of
    `target["vocabulary"]` are extra. Both empty: 1. With one label it is `matched_iou`.

    >>> from types import SimpleNamespace
    >>> from geovlm.plugins.profiles import QWEN2_5_VL
    >>> size = ((280, 280),)
    >>> ctx = SimpleNamespace(
    ...     target={
    ...         "boxes": [[0, 0, 56, 56], [140, 140, 280, 280]],
    ...         "box_labels": ["car", "bus"],
    ...         "vocabulary": ["car", "bus"],
    ...     },
    ...     options={}, image_sizes=size, input_sizes=size, profile=QWEN2_5_VL,
    ... )
    >>> right = "<answer>car: [0, 0, 56, 56]; bus: [140, 140, 280, 280]</answer>"
    >>> swapped = "<answer>bus: [0, 0, 56, 56]; car: [140, 140, 280, 280]</answer>"
    >>> one_wrong = "<answer>car: [0, 0, 56, 56], [140, 140, 280, 280]</answer>"
    >>> labelled_iou([right, swapped, one_wrong], [ctx] * 3)
    [1.0, 0.0, 0.3333333333333333]
    """
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    truth, true_labels, found, named = _read_labelled(completions, contexts)
    most = 1 + max(true_labels.max(initial=0), named.max(initial=0))
    needed = np.maximum(
        _label_counts(truth, true_labels, most=most), _label_counts(found, named, most=most)
    ).sum(axis=1)
    first, start = (np.cumsum(each.counts) - each.counts for each in (truth, found))
    values: list[float] = []
    for table in (each for tables in _tables(truth, found) for each in tables):
        i = len(values)
        n, m = int(truth.counts[i]), int(found.counts[i])
        if not n or not m:
            values.append(float(n == m))
            continue
        same = true_labels[first[i] : first[i] + n, None] == named[None, start[i] : start[i] + m]
        alike = table[:n, :m] * same
        pairs = linear_sum_assignment(alike, maximize=True)
        values.append(min(1.0, float(alike[pairs].sum()) / int(needed[i])))
    return values


def _read_labelled(
    completions: Sequence[str], contexts: Sequence[RewardContext]
) -> tuple[_Ragged, Counts, _Ragged, Counts]:
    """Return true boxes of a batch and the number of the label of each, then the predicted ones.

    Boxes are axis-aligned. A predicted box without one label has the number 0.
    """
    import numpy as np

    numbers: dict[str | None, int] = {None: 0}
    true_labels: list[int] = []
    named: list[int] = []
    read = []
    for completion, ctx in zip(completions, contexts, strict=True):
        own = box_labels(ctx.target)
        true_labels += (numbers.setdefault(each, len(numbers)) for each in own)
        vocabulary = tuple(map(str, ctx.target.get("vocabulary") or sorted(set(own))))  # type: ignore[arg-type]
        text = answers.answer_text(completion) if ctx.image_sizes else ""
        groups, labels = read_labelled(text, vocabulary)
        read.append(groups)
        named += (numbers.setdefault(each, len(numbers)) for each in labels)
    rows, counts, places = arrays.placed(read, contexts, limit=MAX_BOXES)
    true, said = (np.array(each, dtype=np.intp) for each in (true_labels, named))
    return _true(contexts), true, _upright(rows, counts, contexts), said[places]


def _label_counts(boxes: _Ragged, labels: Counts, *, most: int) -> Counts:
    """Return the number of boxes `(samples, labels)` of each label in each sample."""
    import numpy as np

    sample = np.repeat(np.arange(len(boxes.counts)), boxes.counts)
    counts = np.bincount(sample * most + labels, minlength=len(boxes.counts) * most)
    return counts.reshape(-1, most)


def _read(completions: Sequence[str], contexts: Sequence[RewardContext]) -> tuple[_Ragged, _Ragged]:
    """Return true and predicted boxes of a batch, axis-aligned."""
    texts = [answers.answer_text(completion) for completion in completions]
    rows, counts = arrays.parse(texts, contexts, limit=MAX_BOXES)
    return _true(contexts), _upright(rows, counts, contexts)


def _true(contexts: Sequence[RewardContext]) -> _Ragged:
    """Return the true boxes of a batch, axis-aligned."""
    import numpy as np

    listed = [reading.target_numbers(ctx.target) for ctx in contexts]
    counts = np.array([len(each) for each in listed], dtype=np.intp)
    return _upright(arrays.rows([box for each in listed for box in each]), counts, contexts)


def _upright(rows: Array, counts: Counts, contexts: Sequence[RewardContext]) -> _Ragged:
    """Return boxes `(n, 5)` as axis-aligned ones, each as the options of its run say."""
    import numpy as np

    drops = np.array([ctx.options.get("hbb") == "drop" for ctx in contexts], dtype=bool)
    return _Ragged(arrays.upright(rows, drop=np.repeat(drops, counts)), counts)


def _tables(truth: _Ragged, found: _Ragged) -> Iterator[Array]:
    """Yield tables of IoU `(samples, true boxes, predicted boxes)`, some samples each, in order.

    Beyond the boxes of a sample they are 0.
    """
    n_samples = len(truth.counts)
    start = 0
    while start < n_samples:
        end, height, width = start, 0, 0
        while end < n_samples:
            height = max(height, int(truth.counts[end]))
            width = max(width, int(found.counts[end]))
            if end > start and (end + 1 - start) * height * width > _PAIRS:
                break
            end += 1
        yield _ious(_padded(truth, start, end), _padded(found, start, end))
        start = end


def _padded(boxes: _Ragged, start: int, end: int) -> Array:
    """Return boxes `(samples, most boxes, 4)`, zeros where a sample has fewer."""
    import numpy as np

    counts = boxes.counts[start:end]
    before = int(boxes.counts[:start].sum())
    filled = np.arange(max(1, int(counts.max()))) < counts[:, None]
    padded = np.zeros((*filled.shape, 4))
    padded[filled] = boxes.rows[before : before + int(counts.sum())]
    return padded


def _ious(a: Array, b: Array) -> Array:
    """IoU `(samples, n, m)` of boxes `(samples, n, 4)` and `(samples, m, 4)`, as `boxes.iou`."""
    import numpy as np

    a, b = a[:, :, None], b[:, None]

    def common(low: int, high: int) -> Array:  # in place: new arrays take longer than arithmetic
        side = np.minimum(a[..., high], b[..., high])
        side -= np.maximum(a[..., low], b[..., low])
        return np.maximum(side, 0.0, out=side)

    def areas(of: Array) -> Array:
        return (of[..., 2] - of[..., 0]) * (of[..., 3] - of[..., 1])

    shared = common(0, 2)
    shared *= common(1, 3)
    union = areas(a) + areas(b)
    union -= shared
    return np.divide(shared, union, out=shared, where=union > 0)
