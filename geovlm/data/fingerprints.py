"""Which images show the same picture, although their files differ: thumbnails, hashed, compared.

A thumbnail is 32 x 32 grey values, each the mean of its part of the picture. Two pictures are near
duplicates if the hashes of their thumbnails (pHash: signs of the 63 lowest frequencies about their
median) differ in at most `MAX_BITS` of 64 bits, and the thumbnails themselves correlate, as a whole
and in what is left without their coarse 8 x 8 means. The hash finds candidates quickly; the second
look is what tells a copy from another picture of like layout, of which aerial imagery has plenty.
What is nearly of one grey (water, clouds, snow) is a duplicate of nothing: only its bytes can tell.

Found are copies that were encoded again, resized, or made brighter or darker; not those that were
cropped, turned or mirrored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from geovlm.api import Raster

if TYPE_CHECKING:
    import numpy as np

SIDE = 32
MAX_BITS = 14
"""Unrelated pictures differ in 32 bits, with a standard deviation of 4 to 5."""
MIN_CORRELATION = 0.92
MIN_DETAIL = 0.5
"""Least correlation of what is left without the coarse means, where there is enough of it."""
_FLAT = 2.0  # grey levels; a standard deviation below is of compression and sensor, not of content
_FAINT = 1.0  # the same for what is left without the coarse means
_BLOCK = 4
_AT_ONCE = 4096
_IN_CACHE = 1 << 18  # distances at once: 2 MB


class Pair(NamedTuple):
    """Two pictures that show the same."""

    left: int
    right: int
    correlation: float


def thumbnail(image: Path | Raster) -> bytes:
    """The picture as 32 x 32 grey values, row by row.

    Raises:
        DataError: the image cannot be read; names the file.
    """
    from PIL import Image

    from geovlm import raster

    grey = raster.open_image(image).convert("L")
    return grey.resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()


def near(left: np.ndarray, right: np.ndarray) -> list[Pair]:
    """Every pair of a left and a right thumbnail that show the same, in order.

    All hashes are compared: 20,000 with 20,000 took 3.3 s on one core, and the time grows with the
    product.

    Args:
        left: uint8, (N, 32, 32).
        right: uint8, (M, 32, 32).
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


def stack(thumbnails: Mapping[str, bytes] | Sequence[bytes]) -> np.ndarray:
    """Thumbnails as (N, 32, 32)."""
    import numpy as np

    many = thumbnails.values() if isinstance(thumbnails, Mapping) else thumbnails
    return np.frombuffer(b"".join(many), np.uint8).reshape(-1, SIDE, SIDE)


def _hashes(thumbnails: np.ndarray) -> np.ndarray:
    """The 64 bits of each thumbnail; the constant part counts as 0."""
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
    """Correlation of each pair, and whether it is a duplicate."""
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
    """What is left without the means of 4 x 4 values."""
    import numpy as np

    parts = SIDE // _BLOCK
    grey = thumbnails.astype(np.float32).reshape(-1, parts, _BLOCK, parts, _BLOCK)
    return (grey - grey.mean(axis=(2, 4), keepdims=True)).reshape(-1, SIDE, SIDE)


def _spread(thumbnails: np.ndarray) -> np.ndarray:
    import numpy as np

    chunks = range(0, len(thumbnails), _AT_ONCE)
    made = [thumbnails[at : at + _AT_ONCE].std(axis=(1, 2)) for at in chunks]
    return np.concatenate([np.empty(0), *made])
