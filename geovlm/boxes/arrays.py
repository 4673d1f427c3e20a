"""What `geovlm.boxes` reads from one text, read from many: boxes as rows of arrays.

A row is a `Box`: `x0, y0, x1, y1` in pixels of the stored last image before rotation, and degrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

from geovlm.answers import MAX_CHARS
from geovlm.boxes import reading, rectangle_arrays

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float64]


def rows(listed: Sequence[Sequence[float]]) -> Array:
    """Return boxes of four numbers, or five with the angle, as an array `(n, 5)`.

    Raises:
        ValueError: a box has another number of them.
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
    texts: Sequence[str], contexts: Sequence[reading.HasSizes], *, limit: int
) -> tuple[Array, NDArray[np.intp]]:
    """Return what `boxes.parse` finds in each text, as rows `(n, 5)` and their number by text.

    Args:
        texts: answers.
        contexts: of the texts, in their order.
        limit: at most so many boxes of a text are returned, the first ones.
    """
    import numpy as np

    read = [
        reading.read_numbers(text[:MAX_CHARS]) if ctx.image_sizes else ()
        for text, ctx in zip(texts, contexts, strict=True)
    ]
    counts = np.array([len(each) for each in read], dtype=np.intp)
    sample = np.repeat(np.arange(len(read)), counts)
    found = rows(list(chain.from_iterable(read)))
    sizes = np.array([reading.last_size(ctx) for ctx in contexts], dtype=float).reshape(-1, 4)
    found[:, :4] /= np.tile(sizes[sample, 2:], 2)
    keep = _clip(found, sizes[sample, :2])
    sample, found = sample[keep], found[keep]
    counts = np.bincount(sample, minlength=len(read))
    if counts.max(initial=0) > limit:
        place = np.arange(len(sample)) - (np.cumsum(counts) - counts)[sample]
        found, counts = found[place < limit], np.minimum(counts, limit)
    return found, counts


def upright(found: Array, *, drop: NDArray[np.bool_]) -> Array:
    """Return axis-aligned boxes `(n, 4)`: the enclosing ones, or the corners before rotation.

    Args:
        found: boxes `(n, 5)`.
        drop: of which boxes the angle is dropped.
    """
    import numpy as np

    flat = found[:, :4].copy()
    turned = (found[:, 4] % 180 != 0) & ~drop
    if np.any(turned):
        flat[turned] = rectangle_arrays.hulls(found[turned])
    return flat


def _clip(found: Array, sizes: Array) -> NDArray[np.bool_]:
    """Clip axis-aligned boxes to their images, in place; tell which boxes have a part inside."""
    import numpy as np

    x0, y0, x1, y1, angle = found.T
    far = reading.FAR
    with np.errstate(invalid="ignore"):
        keep = (-far < x0) & (x0 < x1) & (x1 < far) & (-far < y0) & (y0 < y1) & (y1 < far)
        keep &= np.abs(angle) < far
    found[~keep] = 0.0
    hull = found[:, :4].copy()
    turned = angle % 180 != 0
    if np.any(turned):
        hull[turned] = rectangle_arrays.hulls(found[turned])
    np.maximum(hull[:, :2], 0.0, out=hull[:, :2])
    np.minimum(hull[:, 2:], sizes, out=hull[:, 2:])
    keep &= (hull[:, 0] < hull[:, 2]) & (hull[:, 1] < hull[:, 3])
    found[~turned, :4] = hull[~turned]
    found[~turned, 4] = 0.0
    return keep
