"""Computes the patches of an image once while it stays in the cache.

GRPO needs the patches of one picture twice a step for every completion, and sets of questions about
one image need them in many batches. The key of the cache is the picture's content.
"""

from __future__ import annotations

import functools
import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image
from transformers.feature_extraction_utils import BatchFeature
from transformers.image_processing_backends import PilBackend
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

MAX_BYTES = 256 * 1024 * 1024
"""Bytes of patches kept: fifty images of 448 x 448 pixels."""


_MADE = ["pixel_values", "image_grid_thw"]
"""Outputs of an image processor whose images can be made one by one and joined."""


class Cached(PilBackend):
    """Mixin of an image processor that returns `_MADE`: it makes the same patches once.

    What it returns is what the stock one returns. Batches of anything else than PIL images take the
    ordinary way.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.made = _Made()

    def preprocess(self, images: Any, **kwargs: Any) -> BatchFeature:
        """Return `pixel_values` and `image_grid_thw` of the images, in their order."""
        flat = list(_flat(images))
        if not flat or not all(isinstance(image, Image.Image) for image in flat):
            return super().preprocess(images, **kwargs)
        kind = kwargs.pop("return_tensors", None)
        settings = repr((self.to_dict(), sorted(kwargs.items())))
        digests: dict[int, str] = {}  # most of a batch are the same objects
        found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        keys = []
        for image in flat:
            digest = digests.get(id(image)) or _digest(image, settings)
            digests[id(image)] = digest
            keys.append(digest)
            if digest not in found:
                found[digest] = self.made.get(digest) or self._make(digest, image, kwargs)
        return BatchFeature(
            data={
                "pixel_values": np.concatenate([found[key][0] for key in keys]),
                "image_grid_thw": np.concatenate([found[key][1] for key in keys]),
            },
            tensor_type=kind,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings, without what was made, under the name of the stock class."""
        fields: dict[str, Any] = super().to_dict()
        fields.pop("made")
        stock = next(kind for kind in type(self).__mro__ if not issubclass(kind, Cached))
        fields["image_processor_type"] = stock.__name__.removesuffix("Pil")
        return fields

    def _make(self, key: str, image: Image.Image, kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
        made = super().preprocess([image], return_tensors="np", **kwargs)
        return self.made.put(key, (made["pixel_values"], made["image_grid_thw"]))


class _Made:
    """Patches and grid by key, the least recently used dropped beyond `MAX_BYTES`."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self._bytes = 0
        self.count = 0
        """Number of images turned into patches."""

    def get(self, key: str) -> tuple[np.ndarray, np.ndarray] | None:
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key]

    def put(self, key: str, value: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        self.count += 1
        self._kept[key] = value
        self._bytes += value[0].nbytes
        while self._bytes > MAX_BYTES and len(self._kept) > 1:
            _, (dropped, _) = self._kept.popitem(last=False)
            self._bytes -= dropped.nbytes
        return value

    def __deepcopy__(self, memo: dict[int, Any]) -> _Made:
        return _Made()  # a copied processor fills its own


class CachedImageProcessor(Cached, Qwen2VLImageProcessorPil):
    """The Qwen-VL family's image processor, which makes the same patches once."""


def can_cache(images: Any) -> bool:
    """Return True if the patches of an image processor's images can be made once."""
    return isinstance(images, PilBackend) and images.model_input_names == _MADE


@functools.cache
def cached(kind: type[PilBackend]) -> type[Cached]:
    """Return the class of an image processor, of which `can_cache` is True, with the cache."""
    if kind is Qwen2VLImageProcessorPil:
        return CachedImageProcessor
    return type(f"Cached{kind.__name__}", (Cached, kind), {"__module__": __name__})


def _flat(images: Any) -> Iterator[Any]:
    if isinstance(images, list | tuple):
        for each in images:
            yield from _flat(each)
    else:
        yield images


def _digest(image: Image.Image, settings: str) -> str:
    content = hashlib.blake2b(settings.encode(), digest_size=20)
    content.update(repr((image.mode, image.size, image.getpalette())).encode())
    content.update(image.tobytes())
    return content.hexdigest()
