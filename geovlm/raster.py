"""References to images, as RGB pictures: ordinary files through Pillow, bands through rasterio.

What has an agreed appearance is shown: 8-bit grey and colour, palettes, CMYK, bi-level; where it
is transparent it is black, as where there are no data. What has none is refused with the way out:
16-bit and floating-point values need a stated range, more than four bands a choice of three, and
both are what `geovlm.api.Raster` says. An error names the file.
"""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageFile

from geovlm.api import Json, Raster, Size
from geovlm.errors import DataError

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

_USE_RASTER = "declare the image as geovlm.api.Raster with bands, low and high"
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)


def open_image(ref: Path | Raster) -> Image.Image:
    """The picture in mode RGB, decoded.

    A `Raster` is stretched linearly, `low` to 0 and `high` to 255, values outside are clipped;
    nodata and NaN are black, band by band. Bands of another size than the first are resampled
    (bilinear) to it; band files are taken to cover the same ground.

    Raises:
        DataError: The file is absent, empty, cut off, no image, too large (over 178 megapixels), or
            has no agreed appearance; names the file.
    """
    if isinstance(ref, Raster):
        return _open_raster(ref)
    with _picture(ref) as image:
        try:
            image.load()
        except _BROKEN as error:
            raise DataError(
                f"{ref}: the image is damaged or cut off: {error}", hint="copy the file again"
            ) from error
        if image.mode == "RGB" and "transparency" not in image.info:
            return image.copy()
        if image.has_transparency_data:
            coloured = image.convert("RGBA")
            black = Image.new("RGB", image.size)
            black.paste(coloured, mask=coloured.getchannel("A"))
            return black
        return image.convert("RGB")


def image_size(ref: Path | Raster) -> Size:
    """Width and height in pixels, read from the header; of a `Raster`: of its first band.

    Remembered while the file keeps its length and time: VQA sets ask a hundred questions of one
    image.

    Raises:
        DataError: As `open_image`, except for damage behind the header.
    """
    path, index = _band(ref, ref.bands[0]) if isinstance(ref, Raster) else (ref, None)
    _refuse_nothing(path)
    state = path.stat()
    return _header(path, index, state.st_size, state.st_mtime_ns)


def encode(ref: Path | Raster) -> Json:
    """The reference as JSON, paths absolute; `decode` gives it back."""
    if not isinstance(ref, Raster):
        return str(ref.absolute())
    nodata = ref.nodata
    return {
        "files": {name: str(path.absolute()) for name, path in ref.files.items()},
        "bands": list(ref.bands),
        "low": ref.low,
        "high": ref.high,
        "band_index": dict(ref.band_index),
        "nodata": "nan" if nodata is not None and math.isnan(nodata) else nodata,
    }


def decode(encoded: Json) -> Path | Raster:
    """The inverse of `encode`."""
    if isinstance(encoded, str):
        return Path(encoded)
    if not isinstance(encoded, Mapping):
        raise TypeError(f"an encoded image is a string or an object, not {encoded!r:.80}")
    fields: dict[str, Any] = dict(encoded)
    fields["files"] = {name: Path(path) for name, path in fields["files"].items()}
    fields["bands"] = tuple(fields["bands"])
    fields["nodata"] = None if fields["nodata"] is None else float(fields["nodata"])
    return Raster(**fields)


# -- ordinary files -------------------------------------------------------------------------------


@contextmanager
def _picture(path: Path) -> Iterator[ImageFile.ImageFile]:
    """The file opened by its header alone, if it has an agreed appearance."""
    _refuse_nothing(path)
    try:
        image = Image.open(path)
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: {error}", hint="cut the image into tiles") from error
    except _BROKEN as error:
        raise _unreadable(path) from error
    with image:
        if image.mode in ("I", "F") or "16" in image.mode or "16" in _raw_mode(image):
            depth = "floating-point" if image.mode == "F" else "more than 8-bit"
            raise DataError(f"{path}: {depth} values have no agreed brightness", hint=_USE_RASTER)
        yield image


@lru_cache(maxsize=65536)
def _header(path: Path, index: int | None, length: int, time_ns: int) -> Size:
    """The size by the header, as a picture or (with `index`) as a band."""
    if index is None:
        with _picture(path) as image:
            return image.size
    with _bands_file(path, index) as source:
        return source.width, source.height


def _refuse_nothing(path: Path) -> None:
    if not path.is_file():
        raise DataError(f"{path}: no such image file", hint="check the copy of the data set")
    if not path.stat().st_size:
        raise DataError(f"{path}: the image file is empty (0 bytes)", hint="copy the file again")


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """How the samples are stored: Pillow shows 16-bit colour by its high bytes, unasked."""
    arguments: Any = image.tile[0][3] if image.tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _unreadable(path: Path) -> DataError:
    """What to tell about a file that Pillow does not know: bands without a choice, or damage."""
    import rasterio

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                bands, kind = source.count, source.dtypes[0]
    except rasterio.errors.RasterioError:
        return DataError(
            f"{path}: no readable image; the file is damaged, cut off or of an unknown format",
            hint="copy the file again",
        )
    return DataError(f"{path}: {bands} band(s) of {kind} are no picture", hint=_USE_RASTER)


# -- bands ----------------------------------------------------------------------------------------


def _open_raster(ref: Raster) -> Image.Image:
    if not ref.high > ref.low:
        raise DataError(
            f"{_band(ref, ref.bands[0])[0]}: low={ref.low} is not below high={ref.high}",
            hint="low is the stored value shown as black, high the one shown as white",
        )
    shown: list[Image.Image] = []
    with ExitStack() as stack:
        opened: dict[Path, DatasetReader] = {}
        for name in ref.bands:
            path, index = _band(ref, name)
            if path not in opened:
                opened[path] = stack.enter_context(_bands_file(path, index))
            elif index > opened[path].count:
                raise _no_band(path, index, opened[path].count)
            image = Image.fromarray(_stretched(opened[path], path, index, ref))
            if shown and image.size != shown[0].size:
                image = image.resize(shown[0].size, Image.Resampling.BILINEAR)
            shown.append(image)
    return Image.merge("RGB", shown)


def _stretched(source: DatasetReader, path: Path, index: int, ref: Raster) -> np.ndarray:
    """One band as (H, W) uint8."""
    import rasterio

    try:
        values = source.read(index)
    except rasterio.errors.RasterioError as error:
        raise DataError(
            f"{path}: band {index} is damaged or cut off: {error}", hint="copy the file again"
        ) from error
    if np.iscomplexobj(values):
        raise DataError(f"{path}: band {index} is complex", hint="store its magnitude or power")
    nodata = source.nodatavals[index - 1] if ref.nodata is None else ref.nodata
    scaled = (values.astype(np.float32) - ref.low) * (255.0 / (ref.high - ref.low))
    empty = np.isnan(scaled)
    if nodata is not None and not math.isnan(nodata):
        empty |= values == nodata
    return np.where(empty, 0, np.rint(np.clip(scaled, 0, 255))).astype(np.uint8)


def _band(ref: Raster, name: str) -> tuple[Path, int]:
    if name not in ref.files:
        raise DataError(
            f"band {name!r} has no file", hint=f"Raster.files has {', '.join(ref.files) or 'none'}"
        )
    return ref.files[name], ref.band_index.get(name, 1)


def _no_band(path: Path, index: int, count: int) -> DataError:
    return DataError(
        f"{path}: band {index} does not exist, the file has {count}",
        hint="Raster.band_index counts from 1",
    )


@contextmanager
def _bands_file(path: Path, index: int) -> Iterator[DatasetReader]:
    """The file opened by its header, if it has the band."""
    import rasterio

    _refuse_nothing(path)
    with ExitStack() as stack:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                source = stack.enter_context(rasterio.open(path))
        except rasterio.errors.RasterioError as error:
            raise DataError(
                f"{path}: no readable raster: {error}", hint="copy the file again"
            ) from error
        if not 1 <= index <= source.count:
            raise _no_band(path, index, source.count)
        yield source
