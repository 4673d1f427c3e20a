"""Reads, clips and measures boxes of many texts at once, as arrays.

A row is a `Box`: `x0, y0, x1, y1` in pixels of the stored last image before rotation about its own
centre, and degrees. The shared areas of boxes hold for any unit of length that both sides use.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

from geovlm.answers import MAX_CHARS
from geovlm.boxes import frames, reading

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float64]

_PAIRS = 8192
"""Pairs whose shared area is computed at once; three times as fast, as they fit the cache."""


def rows(listed: Sequence[Sequence[float]]) -> Array:
    """Return boxes of four numbers, or five with the angle, as an array `(n, 5)`.

    Raises:
        ValueError: A box has another number of numbers.
    """
    import numpy as np

    lengths = set(map(len, listed))
    if not lengths <= {4, 5}:
        raise ValueError(f"a box has four or five numbers, not {max(lengths - {4, 5})}")
    if lengths == {4, 5}:
        listed = [box if len(box) == 5 else (*box, 0.0) for box in listed]
    width = max(lengths, default=5)
    flat = np.fromiter(chain.from_iterable(listed), dtype=float, count=width * len(listed))
    made = np.zeros((len(listed), 5))
    made[:, :width] = flat.reshape(-1, width)
    return made


def parse(
    texts: Sequence[str], contexts: Sequence[frames.HasSizes], *, limit: int
) -> tuple[Array, NDArray[np.intp]]:
    """Return the boxes of `boxes.parse` for many texts: rows `(n, 5)`, and the number per text."""
    read = [
        reading.read(text[:MAX_CHARS]) if ctx.image_sizes else reading.Read((), {})
        for text, ctx in zip(texts, contexts, strict=True)
    ]
    found, counts, _ = placed(read, contexts, limit=limit)
    return found, counts


def placed(
    read: Sequence[reading.Read], contexts: Sequence[frames.HasSizes], *, limit: int
) -> tuple[Array, NDArray[np.intp], NDArray[np.intp]]:
    """Return groups of numbers as boxes: rows `(n, 5)`, number per text, place among all groups."""
    import numpy as np

    counts = np.array([len(each.numbers) for each in read], dtype=np.intp)
    sample = np.repeat(np.arange(len(read)), counts)
    found = rows(list(chain.from_iterable(each.numbers for each in read)))
    images = np.array([frames.last_image(ctx) for ctx in contexts], dtype=float).reshape(-1, 5)
    each_image = images[sample]
    if any(each.fixed for each in read):
        starts = (np.cumsum(counts) - counts).tolist()
        for ctx, each, start in zip(contexts, read, starts, strict=True):
            for notation, places in each.fixed.items():
                each_image[start + np.array(places)] = frames.last_image(ctx, notation)
    turned = each_image[:, 4] > 0
    if np.any(turned):
        found[turned, :4] = found[turned][:, [1, 0, 3, 2]]
    found[:, :4] /= np.tile(each_image[:, 2:4], 2)
    keep = _clip(found, each_image[:, :2])
    sample, found, kept = sample[keep], found[keep], np.flatnonzero(keep)
    counts = np.bincount(sample, minlength=len(read))
    if counts.max(initial=0) > limit:
        place = np.arange(len(sample)) - (np.cumsum(counts) - counts)[sample]
        found, kept, counts = found[place < limit], kept[place < limit], np.minimum(counts, limit)
    return found, counts, kept


def upright(found: Array, *, drop: NDArray[np.bool_]) -> Array:
    """Return axis-aligned boxes `(n, 4)`: the enclosing ones, or where `drop` those unturned."""
    import numpy as np

    flat = found[:, :4].copy()
    turned = (found[:, 4] % 180 != 0) & ~drop
    if np.any(turned):
        flat[turned] = hulls(found[turned])
    return flat


def hulls(boxes: Array) -> Array:
    """Return axis-aligned hulls `(n, 4)` of rectangles `(n, 5)`, smaller numbers first."""
    import numpy as np

    cos, sin = np.abs(_cos_sin(boxes[:, 4]))
    centre, half = _centres(boxes), np.abs(_halves(boxes))
    reach = np.stack(
        [half[:, 0] * cos + half[:, 1] * sin, half[:, 0] * sin + half[:, 1] * cos], axis=1
    )
    return np.concatenate([centre - reach, centre + reach], axis=1)


def areas(boxes: Array) -> Array:
    """Return areas `(n,)` of rectangles `(n, 5)`; x1 < x0 or y1 < y0 does not matter."""
    import numpy as np

    return np.abs((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def shared_areas(a: Array, b: Array) -> Array:
    """Return the area `(n,)` that row i of `a` and row i of `b`, both `(n, 5)`, share.

    Exact up to rounding; 0 for rectangles that only touch. In the frame in which `b` is
    axis-aligned, the shared area is the integral of y over x along the outline of `a`, both clipped
    to `b`. So no case needs its own code, not even rectangles that share edges.
    """
    import numpy as np

    parts = [slice(start, start + _PAIRS) for start in range(0, len(a), _PAIRS)]
    return np.concatenate([np.zeros(0), *(_shared(a[part], b[part]) for part in parts)])


def _clip(found: Array, sizes: Array) -> NDArray[np.bool_]:
    """Clip axis-aligned boxes in place; return where a box has a part inside its image."""
    import numpy as np

    x0, y0, x1, y1, angle = found.T
    far = frames.FAR
    with np.errstate(invalid="ignore"):
        keep = (-far < x0) & (x0 < x1) & (x1 < far) & (-far < y0) & (y0 < y1) & (y1 < far)
        keep &= np.abs(angle) < far
    found[~keep] = 0.0
    turned = angle % 180 != 0
    hull = upright(found, drop=~turned)
    np.maximum(hull[:, :2], 0.0, out=hull[:, :2])
    np.minimum(hull[:, 2:], sizes, out=hull[:, 2:])
    keep &= (hull[:, 0] < hull[:, 2]) & (hull[:, 1] < hull[:, 3])
    found[~turned, :4] = hull[~turned]
    found[~turned, 4] = 0.0
    return keep


def _shared(a: Array, b: Array) -> Array:
    import numpy as np

    across, down = np.abs(_halves(b)).T
    offset = _centres(a) - _centres(b)
    cos, sin = _cos_sin(b[:, 4])
    x = offset[:, 0] * cos + offset[:, 1] * sin
    y = offset[:, 1] * cos - offset[:, 0] * sin
    half = np.abs(_halves(a))
    cos, sin = _cos_sin(a[:, 4] - b[:, 4])
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
    """Integrate y over x from (x0, y0) to (x1, y1), both clipped to ±down and ±across."""
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


def _centres(boxes: Array) -> Array:
    return (boxes[:, :2] + boxes[:, 2:4]) / 2


def _halves(boxes: Array) -> Array:
    return (boxes[:, 2:4] - boxes[:, :2]) / 2


def _cos_sin(degrees: Array) -> tuple[Array, Array]:
    """Return cosine and sine, exact at multiples of 90 degrees."""
    import numpy as np

    quarters = np.round(degrees / 90)
    rest = np.radians(degrees - 90 * quarters)
    cos, sin = np.cos(rest), np.sin(rest)
    quarter = (quarters % 4).astype(int)
    return np.choose(quarter, [cos, -sin, -cos, sin]), np.choose(quarter, [sin, cos, -sin, -cos])
