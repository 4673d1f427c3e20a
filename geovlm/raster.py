"""Pixels: any image that a data set may hold, as the RGB picture that a model sees.

`Path`s are read with Pillow, `Raster`s band by band, by name, with rasterio.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from geovlm.api import Json, Raster, Size
from geovlm.errors import DataError

_EIGHT_BIT = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"}


def open_image(image: Path | Raster) -> Image.Image:
    """Return the image as RGB, 8 bit per band.

    Palettes and greys are expanded, transparency is laid on black. A file of 16-bit or float values
    has no natural brightness and is refused: name its bands in a `Raster`.

    Raises:
        DataError: the file is missing, empty, broken, or not 8 bit; names it.
    """
    if isinstance(image, Raster):
        return _open_raster(image)
    try:
        with Image.open(image) as file:
            if file.mode not in _EIGHT_BIT:
                raise DataError(
                    f"{image} holds values of mode {file.mode}, not 8 bit",
                    hint="give its bands and value range in a Raster",
                )
            if file.mode in {"RGBA", "LA", "PA"} or "transparency" in file.info:
                rgba = file.convert("RGBA")
                black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
                return Image.alpha_composite(black, rgba).convert("RGB")
            return file.convert("RGB")
    except FileNotFoundError as error:
        raise DataError(f"image {image} does not exist") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"image {image} cannot be read: {str(error) or type(error).__name__}",
            hint="the file is empty, cut off, or has bands that only a Raster can name",
        ) from error


def image_size(image: Path | Raster) -> Size:
    """Return (width, height) in pixels from the header; the first shown band's for a `Raster`.

    Raises:
        DataError: the file is missing or no image; names it.
    """
    if isinstance(image, Raster):
        return _header(str(image.files[image.bands[0]]))
    return _header(str(image))


def encode(image: Path | Raster) -> Json:
    """Return a reference to the image that survives JSON; paths become absolute."""
    if isinstance(image, Raster):
        return {
            "files": {band: str(path.absolute()) for band, path in image.files.items()},
            "bands": list(image.bands),
            "low": image.low,
            "high": image.high,
            "band_index": dict(image.band_index),
            "nodata": image.nodata,
        }
    return str(image.absolute())


def decode(reference: Any) -> Path | Raster:
    """Return the image that `encode` referred to."""
    if isinstance(reference, str):
        return Path(reference)
    red, green, blue = reference["bands"]
    return Raster(
        files={band: Path(path) for band, path in reference["files"].items()},
        bands=(red, green, blue),
        low=reference["low"],
        high=reference["high"],
        band_index=reference["band_index"],
        nodata=reference["nodata"],
    )


@lru_cache(maxsize=262144)
def _header(path: str) -> Size:
    try:
        with Image.open(path) as file:
            return file.size
    except FileNotFoundError as error:
        raise DataError(f"image {path} does not exist") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        import rasterio
        from rasterio.errors import RasterioError

        try:
            with rasterio.open(path) as source:
                return source.width, source.height
        except RasterioError as error:
            raise DataError(
                f"image {path} cannot be read: {error}", hint="the file is empty or cut off"
            ) from error


def _open_raster(image: Raster) -> Image.Image:
    width, height = image_size(image)
    if not image.high > image.low:
        raise DataError(f"Raster of {image.files} shows {image.low}..{image.high}, an empty range")
    layers = []
    for band in image.bands:
        if band not in image.files:
            raise DataError(
                f"Raster has no band {band!r}", hint=f"it has {', '.join(sorted(image.files))}"
            )
        values, valid = _read_band(image, band, size=(width, height))
        shown = (values - image.low) * (255.0 / (image.high - image.low))
        layers.append(np.where(valid, np.clip(shown, 0, 255), 0).astype(np.uint8))
    return Image.fromarray(np.stack(layers, axis=-1))


def _read_band(image: Raster, band: str, *, size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Return values (H, W) float32, bilinear at `size`, and where they are data."""
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.errors import RasterioError

    path = image.files[band]
    index = image.band_index.get(band, 1)
    try:
        with rasterio.open(path) as source:
            if index > source.count:
                raise DataError(f"{path} has {source.count} bands, band {band!r} is number {index}")
            values = source.read(
                index, out_shape=(size[1], size[0]), resampling=Resampling.bilinear
            ).astype(np.float32)
            nodata = image.nodata if image.nodata is not None else source.nodata
    except RasterioError as error:
        raise DataError(
            f"band {band!r} in {path} cannot be read: {error}",
            hint="the file is missing, empty or cut off",
        ) from error
    valid = np.isfinite(values)
    if nodata is not None:
        valid &= values != nodata
    return np.nan_to_num(values), valid
