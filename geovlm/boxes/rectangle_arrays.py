"""Many rectangles at once, as arrays: hulls, areas, and what two rotated ones share.

A row is a `Box` of `geovlm.boxes`: `x0, y0, x1, y1` before rotation about its own centre, and
degrees. Any unit of length will do, as long as both sides have the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float64]

_ROWS = 8192
"""Pairs whose shared area is computed at once: what fits the cache is three times as fast."""


def hulls(rows: Array) -> Array:
    """Axis-aligned hulls `(n, 4)` of rectangles `(n, 5)`, smaller numbers first."""
    import numpy as np

    cos, sin = np.abs(_turn(rows[:, 4]))
    centre, half = _centres(rows), np.abs(_halves(rows))
    reach = np.stack(
        [half[:, 0] * cos + half[:, 1] * sin, half[:, 0] * sin + half[:, 1] * cos], axis=1
    )
    return np.concatenate([centre - reach, centre + reach], axis=1)


def areas(rows: Array) -> Array:
    """Areas `(n,)` of rectangles `(n, 5)`; x1 < x0 or y1 < y0 does not matter."""
    import numpy as np

    return np.abs((rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1]))


def shared_areas(a: Array, b: Array) -> Array:
    """Area `(n,)` that row i of `a` and row i of `b`, both `(n, 5)`, have in common.

    Exact up to rounding, 0 for rectangles that only touch. In the frame in which `b` is
    axis-aligned, the shared area is the integral, along the outline of `a`, of y over x, both
    clipped to `b`: no case needs to be told from another, and rectangles that share edges are no
    special ones.
    """
    import numpy as np

    parts = [slice(start, start + _ROWS) for start in range(0, len(a), _ROWS)]
    return np.concatenate([np.zeros(0), *(_shared(a[part], b[part]) for part in parts)])


def _shared(a: Array, b: Array) -> Array:
    import numpy as np

    across, down = np.abs(_halves(b)).T
    offset = _centres(a) - _centres(b)
    cos, sin = _turn(b[:, 4])
    x = offset[:, 0] * cos + offset[:, 1] * sin
    y = offset[:, 1] * cos - offset[:, 0] * sin
    half = np.abs(_halves(a))
    cos, sin = _turn(a[:, 4] - b[:, 4])
    first = half[:, 0] * cos, half[:, 0] * sin  # from the centre to the middle of a side
    second = -half[:, 1] * sin, half[:, 1] * cos
    ends = [
        (x + i * first[0] + j * second[0], y + i * first[1] + j * second[1])
        for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    total = np.zeros(len(a))
    for start, end in zip(ends, (*ends[1:], ends[0]), strict=True):
        total += _under(*start, *end, across=across, down=down)
    return np.abs(total)


def _under(x0: Array, y0: Array, x1: Array, y1: Array, *, across: Array, down: Array) -> Array:
    """Integral of y over x from (x0, y0) to (x1, y1), both clipped to ±down and ±across."""
    import numpy as np

    left, right = np.clip(x0, -across, across), np.clip(x1, -across, across)
    width, rise = x1 - x0, y1 - y0
    with np.errstate(over="ignore"):  # a hostile width; the share is clipped
        shares = [
            np.divide(each - x0, width, out=np.zeros_like(width), where=width != 0)
            for each in (left, right)
        ]
    start, end = (y0 + np.clip(share, 0, 1) * rise for share in shares)
    low, high = np.minimum(start, end), np.maximum(start, end)
    least, most = np.clip(low, -down, down), np.clip(high, -down, down)
    # lengths of the parts below, inside and above; as weights they keep the mean within the ends
    below = np.maximum(np.minimum(high, -down) - low, 0)
    above = np.maximum(high - np.maximum(low, down), 0)
    inside = most - least
    whole = below + inside + above
    mean = below * least + inside * (least + most) / 2 + above * most
    return (right - left) * np.divide(mean, whole, out=least.copy(), where=whole > 0)


def _centres(rows: Array) -> Array:
    return (rows[:, :2] + rows[:, 2:4]) / 2


def _halves(rows: Array) -> Array:
    return (rows[:, 2:4] - rows[:, :2]) / 2


def _turn(degrees: Array) -> tuple[Array, Array]:
    """Cosine and sine, exact at multiples of 90 degrees."""
    import numpy as np

    quarters = np.round(degrees / 90)
    rest = np.radians(degrees - 90 * quarters)
    cos, sin = np.cos(rest), np.sin(rest)
    quarter = (quarters % 4).astype(int)
    return (
        np.choose(quarter, [cos, -sin, -cos, sin]),
        np.choose(quarter, [sin, cos, -sin, -cos]),
    )
