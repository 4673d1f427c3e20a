"""Decodes images and resizes them to what the model sees; keeps those in use."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from geovlm import raster
from geovlm.api import Raster, Size
from geovlm.files.jsontext import dumps
from geovlm.raster import images
from geovlm.raster.reference import decode

DEFAULT_BYTES = 512 * 1024 * 1024
WINDOW_PIXELS = 16_000_000
"""A larger window is read at about the size at which the model sees it, to bound memory."""
GREY = dumps({"view": "grey"})
"""Reference of an image without content, of any size."""


def shifted(reference: str, *, share: tuple[float, float]) -> str:
    """Return the reference of the same image moved right and down by shares of its sides.

    Its border pixels fill the gap.
    """
    return dumps({"view": "shifted", "of": reference, "share": share})


def windowed(reference: str, *, window: tuple[int, int, int, int]) -> str:
    """Return the reference of a part of an image: column, row, width, height, in its pixels."""
    return dumps({"view": "window", "of": json.loads(reference), "window": window})


class ImageCache:
    """Decoded images by (reference, size), the least recently used dropped beyond `max_bytes`.

    GRPO needs the same picture once per generation, and VQA sets have a hundred questions about
    one: each is opened and resized once while it stays in the cache. The resize is the bicubic one
    of the image processors, to a size that they leave as it is.
    """

    def __init__(self, *, max_bytes: int = DEFAULT_BYTES) -> None:
        self._images: OrderedDict[tuple[str, Size], Image.Image] = OrderedDict()
        self._max_bytes = max_bytes
        self._bytes = 0
        self.opened = 0
        """Number of files decoded."""

    def get(self, reference: str, size: Size) -> Image.Image:
        """Return the RGB image of a reference, `GREY`, or a `shifted` or `windowed` one, at `size`.

        Raises:
            DataError: the file cannot be read; names it.
        """
        key = (reference, size)
        if key in self._images:
            self._images.move_to_end(key)
            return self._images[key]
        image = self._open(json.loads(reference), size)
        self._images[key] = image
        self._bytes += size[0] * size[1] * 3
        while self._bytes > self._max_bytes and len(self._images) > 1:
            (_, dropped), _ = self._images.popitem(last=False)
            self._bytes -= dropped[0] * dropped[1] * 3
        return image

    def _open(self, encoded: object, size: Size) -> Image.Image:
        match encoded:
            case {"view": "grey"}:
                return Image.new("RGB", size, (128, 128, 128))
            case {"view": "shifted", "of": str(original), "share": [float(right), float(down)]}:
                return _move(self.get(original, size), right * size[0], down * size[1])
            case {"view": "window", "of": original, "window": [int(x), int(y), int(w), int(h)]}:
                reduced = size if w * h > WINDOW_PIXELS else None
                image = images.open_window(decode(original), (x, y, w, h), out_size=reduced)
            case _:
                image = _whole(decode(encoded), size)  # type: ignore[arg-type]  # JSON
        self.opened += 1
        return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)


def _whole(ref: Path | Raster, size: Size) -> Image.Image:
    """Return an image at its own size; a large one made of bands at `size`."""
    if isinstance(ref, Raster):
        width, height = raster.image_size(ref)
        if width * height > WINDOW_PIXELS:
            return images.open_window(ref, (0, 0, width, height), out_size=size)
    return raster.open_image(ref)


def _move(image: Image.Image, right_px: float, down_px: float) -> Image.Image:
    """Return the image moved by fractions of pixels, bicubic, its border repeated."""
    margin = math.ceil(max(abs(right_px), abs(down_px))) + 2
    widths: Sequence[tuple[int, int]] = ((margin, margin), (margin, margin), (0, 0))
    padded = Image.fromarray(np.pad(np.asarray(image), widths, mode="edge"))
    return padded.transform(
        image.size,
        Image.Transform.AFFINE,
        (1, 0, margin - right_px, 0, 1, margin - down_px),
        resample=Image.Resampling.BICUBIC,
    )
