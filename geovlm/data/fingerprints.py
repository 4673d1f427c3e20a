"""Finds images that show the same picture although their files differ, by their thumbnails.

A thumbnail is 32 x 32 grey values, each the mean of its part of the picture. Two pictures are near
duplicates if the hashes of their thumbnails (pHash: signs of the 63 lowest frequencies about their
median) differ in at most `MAX_BITS` of 64 bits, and the thumbnails themselves correlate, both whole
and after their coarse 8 x 8 means are subtracted. The hash finds candidates quickly; the
correlation separates copies from other pictures of similar layout, which aerial imagery has many
of. Pictures of nearly one grey (water, clouds, snow) are never near duplicates: only their bytes
can be compared.

This finds copies that were encoded again, resized, or made brighter or darker, but not copies that
were cropped, turned or mirrored.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from geovlm.api import Raster

if TYPE_CHECKING:
    import numpy as np

SIDE = 32
MAX_BITS = 14
"""Largest distance of two hashes; unrelated pictures differ in 32 bits, deviation 4 to 5."""
MIN_CORRELATION = 0.92
MIN_DETAIL = 0.5
"""Smallest correlation of the details left without the coarse means, if there are enough."""
_FLAT = 2.0  # grey levels; a smaller standard deviation comes from compression and sensor
_FAINT = 1.0  # the same for the details
_BLOCK = 4
_AT_ONCE = 4096
_IN_CACHE = 1 << 18  # distances at once: 2 MB


class Pair(NamedTuple):
    """Two near duplicates: their places in `left` and `right`, and their correlation."""

    left: int
    right: int
    correlation: float


def thumbnail(image: Path | Raster) -> bytes:
    """Return the picture as 32 x 32 grey values, one byte each, row by row.

    Raises:
        DataError: the image cannot be read; names the file.
    """
    from PIL import Image

    from geovlm import raster

    grey = raster.open_image(image).convert("L")
    return grey.resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()


def near(left: np.ndarray, right: np.ndarray) -> list[Pair]:
    """Return the pairs of thumbnails (uint8, (N, 32, 32)) that are near duplicates, in order.

    All hashes are compared: 20,000 with 20,000 took 3.3 s on one core, and the time grows with the
    product.
    """
    import numpy as np

    here, there = (np.flatnonzero(_spread(each) >= _FLAT) for each in (left, right))
    hashes, others = _hashes(left[here]), _hashes(right[there])
    found: list[Pair] = []
    rows = max(1, _IN_CACHE // max(1, len(others)))
    for start in range(0, len(hashes), rows):
        apart = np.bitwise_count(hashes[start : start + rows, None] ^ others[None, :])
        one, two = np.nonzero(apart <= MAX_BITS)
        for at in range(0, len(one), _AT_ONCE):
            i, j = here[start + one[at : at + _AT_ONCE]], there[two[at : at + _AT_ONCE]]
            values, sure = _compare(left[i], right[j])
            found += [
                Pair(int(a), int(b), round(float(value), 4))
                for a, b, value in zip(i[sure], j[sure], values[sure], strict=True)
            ]
    return found


def stack(thumbnails: Sequence[bytes]) -> np.ndarray:
    """Return thumbnails as an array, uint8, (N, 32, 32)."""
    import numpy as np

    return np.frombuffer(b"".join(thumbnails), np.uint8).reshape(-1, SIDE, SIDE)


def _hashes(thumbnails: np.ndarray) -> np.ndarray:
    """Return the 64 bits of each thumbnail, uint64, (N,); the bit of the constant part is 0."""
    import numpy as np
    from scipy.fft import dctn

    made = [np.empty(0, np.uint64)]
    for start in range(0, len(thumbnails), _AT_ONCE):
        grey = thumbnails[start : start + _AT_ONCE].astype(np.float32)
        low = dctn(grey, axes=(1, 2), norm="ortho")[:, :8, :8].reshape(-1, 64)
        bits = low > np.median(low[:, 1:], axis=1, keepdims=True)
        bits[:, 0] = False
        made.append(np.packbits(bits, axis=1).view(np.uint64).ravel())
    return np.concatenate(made)


def _compare(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the correlation of each pair, and true if it is a near duplicate."""
    one, two = _detail(left), _detail(right)
    values, details = _correlation(left, right), _correlation(one, two)
    faint = (one.std(axis=(1, 2)) < _FAINT) & (two.std(axis=(1, 2)) < _FAINT)
    return values, (values >= MIN_CORRELATION) & (faint | (details >= MIN_DETAIL))


def _correlation(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    import numpy as np

    one, two = (
        each.reshape(len(each), -1) - each.reshape(len(each), -1).mean(axis=1, keepdims=True)
        for each in (left.astype(np.float32), right.astype(np.float32))
    )
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    return (one * two).sum(axis=1) / np.maximum(lengths, 1e-6)


def _detail(thumbnails: np.ndarray) -> np.ndarray:
    """Return the grey values minus the means of 4 x 4 of them."""
    import numpy as np

    parts = SIDE // _BLOCK
    grey = thumbnails.astype(np.float32).reshape(-1, parts, _BLOCK, parts, _BLOCK)
    return (grey - grey.mean(axis=(2, 4), keepdims=True)).reshape(-1, SIDE, SIDE)


def _spread(thumbnails: np.ndarray) -> np.ndarray:
    import numpy as np

    chunks = range(0, len(thumbnails), _AT_ONCE)
    made = [thumbnails[at : at + _AT_ONCE].std(axis=(1, 2)) for at in chunks]
    return np.concatenate([np.empty(0), *made])
