"""Builds the requests of a chat endpoint: images as data URLs, then the question.

Two requests with the same content have the same key, whatever the address of the endpoint and
whatever library encodes the images.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geovlm.files.jsontext import dumps

if TYPE_CHECKING:
    from PIL.Image import Image

    from geovlm.config.served import ServedConfig

_VERSION = 1
"""Version of the keys; to be raised with every change of what a request means."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One question about images."""

    model: str
    """Name of the model at the endpoint."""
    question: str
    """Text of the user's turn, the run's instruction included."""
    images: tuple[Image, ...]
    """RGB, in the order in which the question names them, at the size at which they are sent."""
    settings: ServedConfig
    """Format of the images."""
    parameters: dict[str, Any]
    """All other parts of the body: temperature, seed, longest length."""

    def body(self) -> dict[str, Any]:
        """Return the body of the request."""
        kind = self.settings.image_format
        files = [encoded(image, settings=self.settings) for image in self.images]
        return self._body(
            [f"data:image/{kind};base64,{base64.b64encode(file).decode()}" for file in files]
        )

    def key(self) -> str:
        """Return the SHA-256 of the body, with format and hash of the pixels of each image."""
        kind = described(self.settings)
        hashes = [
            f"{kind} {image.size} {hashlib.sha256(image.tobytes()).hexdigest()}"
            for image in self.images
        ]
        text = dumps([_VERSION, self._body(hashes)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _body(self, urls: Sequence[str]) -> dict[str, Any]:
        detail = self.settings.image_detail
        more = {} if detail is None else {"detail": detail}
        content: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": url, **more}} for url in urls
        ]
        content.append({"type": "text", "text": self.question})
        messages = [{"role": "user", "content": content}]
        return {"model": self.model, "messages": messages, **self.parameters}


def make(
    model: str,
    *,
    question: str,
    images: Sequence[Image],
    settings: ServedConfig,
    max_tokens: int,
    temperature: float,
    seed: int,
) -> Request:
    """Return the request for one answer; `images` (RGB) are sent at the size that they have."""
    parameters: dict[str, Any] = {
        settings.max_tokens_key: max_tokens,
        "temperature": temperature,
        "seed": seed,
        **settings.parameters,
    }
    for name in settings.omit:
        parameters.pop(name, None)
    return Request(
        model=model,
        question=question,
        images=tuple(images),
        settings=settings,
        parameters=parameters,
    )


def described(settings: ServedConfig) -> str:
    """Return the format of images: `png`, or `jpeg 95`."""
    quality = f" {settings.jpeg_quality}" if settings.image_format == "jpeg" else ""
    return f"{settings.image_format}{quality}"


def encoded(image: Image, *, settings: ServedConfig) -> bytes:
    """Return an image as the bytes of a PNG or JPEG file, of the same size in pixels."""
    file = io.BytesIO()
    if settings.image_format == "png":
        image.save(file, format="PNG", compress_level=1)
    else:
        image.save(file, format="JPEG", quality=settings.jpeg_quality, subsampling=0)
    return file.getvalue()
