"""Images as the model sees them: decoded, resized once, kept while they are in use."""

from __future__ import annotations

import json
from collections import OrderedDict

from PIL import Image

from geovlm import raster
from geovlm.api import Size

DEFAULT_BYTES = 512 * 1024 * 1024


class ImageCache:
    """Decoded images by (reference, size), the least recently used dropped beyond `max_bytes`.

    GRPO asks for the same picture once per generation, and VQA sets ask a hundred questions of one:
    each is opened and resized once while it stays in the cache. The resize is the bicubic one of
    the image processors, to a size that they leave as it is.
    """

    def __init__(self, *, max_bytes: int = DEFAULT_BYTES) -> None:
        self._images: OrderedDict[tuple[str, Size], Image.Image] = OrderedDict()
        self._max_bytes = max_bytes
        self._bytes = 0
        self.opened = 0
        """How many times a file was decoded."""

    def get(self, reference: str, size: Size) -> Image.Image:
        """Return the RGB image of an encoded reference (see `geovlm.raster`), resized to `size`.

        Raises:
            DataError: the file cannot be read; names it.
        """
        key = (reference, size)
        if key in self._images:
            self._images.move_to_end(key)
            return self._images[key]
        image = raster.open_image(raster.decode(json.loads(reference)))
        self.opened += 1
        if image.size != size:
            image = image.resize(size, Image.Resampling.BICUBIC)
        self._images[key] = image
        self._bytes += size[0] * size[1] * 3
        while self._bytes > self._max_bytes and len(self._images) > 1:
            (_, dropped), _ = self._images.popitem(last=False)
            self._bytes -= dropped[0] * dropped[1] * 3
        return image
