"""From an image file on disk to an RGB picture."""

from __future__ import annotations

from geovlm.raster.images import image_size, open_image, open_window

__all__ = ["image_size", "open_image", "open_window"]
