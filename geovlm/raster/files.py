"""Opens and reads files with bands through rasterio; every fault of a file is a `DataError`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from geovlm import answers
from geovlm.api import Size
from geovlm.errors import DataError
from geovlm.raster.faults import reported, require_image, unreadable
from geovlm.raster.headers import single_band_size

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

Window: TypeAlias = tuple[int, int, int, int]
"""Column, row, width and height of a part of an image, pixels."""

CACHE_BYTES = 64 << 20
"""Size of GDAL's cache of blocks; its default is a twentieth of the machine's memory."""

_ABSENT = (FileNotFoundError, NotADirectoryError, ValueError)  # ValueError: a name with a zero byte
_COLOURS = frozenset({"red", "green", "blue", "nir"})
_SQUARE_PX = 64
"""Side of a square that is read of a large scene."""


class Layout(NamedTuple):
    """Size and band names from the header of a file."""

    size: Size
    names: tuple[str, ...]
    """Description of each band, else its colour (`red`, `green`, `blue`, `nir`), else ""."""


class State(NamedTuple):
    """A file until it changes; a key of caches."""

    path: Path
    length: int
    """Bytes."""
    time_ns: int
    """Time of the last change."""


def state(path: Path) -> State:
    """Return the path, length and time of a file.

    Raises:
        DataError: The file is absent, empty or unreadable, or not a file, or its name not Unicode.
    """
    why = answers.defect(str(path))
    if why is not None:  # GDAL and files of JSON take names in UTF-8 only
        raise DataError(f"{path}: its name holds {why}", hint="rename it")
    try:
        found = path.stat()
    except _ABSENT:
        found = None
    except OSError as error:
        raise unreadable(path, error) from error
    if found is None:
        raise DataError(f"{path}: no such image file", hint="check the copy of the data set")
    if not S_ISREG(found.st_mode):
        kind = "a folder" if S_ISDIR(found.st_mode) else "something else"
        raise DataError(f"{path}: {kind}, not an image file", hint="name the file")
    if not found.st_size:
        raise DataError(f"{path}: the image file is empty (0 bytes)", hint="copy the file again")
    return State(path, found.st_size, found.st_mtime_ns)


def is_absent(path: Path) -> bool:
    """Return True if a path does not exist; False if that cannot be seen."""
    try:
        path.stat()
    except _ABSENT:
        return True
    except OSError:
        return False
    return False


@contextmanager
def opened(path: Path) -> Iterator[DatasetReader]:
    """Open a file; only its header is read.

    Raises:
        DataError: The file is absent, empty, unreadable or not a raster.
    """
    import rasterio

    state(path)
    with reported(path, doing="not a readable raster"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                source = rasterio.open(path)
        except rasterio.errors.RasterioError:
            require_image(path)
            raise
    with reported(path), source, rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES):
        yield source


@lru_cache(maxsize=65536)
def cached_layout(file: State) -> Layout:
    """Return the layout of a file, cached until the file changes; raises as `opened` does."""
    size = single_band_size(file.path)
    if size is not None:
        return Layout(size, ("",))
    with opened(file.path) as source:
        return layout(source)


def layout(source: DatasetReader) -> Layout:
    """Return size and band names of an open file."""
    colours = ("" if c.name not in _COLOURS else c.name for c in source.colorinterp)
    names = tuple(d or c for d, c in zip(source.descriptions, colours, strict=True))
    return Layout((source.width, source.height), names)


def read(
    source: DatasetReader, index: int, *, window: Window, shape: tuple[int, int]
) -> np.ndarray:
    """Read a window of a band as stored, (H, W); the nearest pixels if `shape` is smaller.

    Raises:
        DataError: The pixels are damaged, cut off or complex.
    """
    from rasterio.windows import Window as Part

    with reported(source.name, doing=f"band {index} cannot be read"):
        values: np.ndarray = source.read(index, window=Part(*window), out_shape=shape)
    if np.iscomplexobj(values):
        raise DataError(
            f"{source.name}: band {index} is complex", hint="store its magnitude or power"
        )
    return values


def require_finished(source: DatasetReader, index: int) -> None:
    """Raise `DataError` if the last block of a band was never written and nodata is not declared.

    A writer that was killed leaves such a file; GDAL reads the missing blocks as zeros.
    """
    if source.driver != "GTiff" or source.nodatavals[index - 1] is not None:
        return
    height, width = source.block_shapes[index - 1]
    column, row = (source.width - 1) // width, (source.height - 1) // height
    if source.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=index) is None:
        raise DataError(
            f"{source.name}: the last block of band {index} was never written",
            hint="the writer was stopped half-way: write the file again; a file that omits empty "
            "blocks must declare its nodata",
        )


class Shape(NamedTuple):
    """Shape of an array of pixels, unlike a size in the order of numpy."""

    height: int
    width: int


def decimated(width: int, height: int, *, longest: int) -> Shape:
    """Return the shape of a window that is reduced to at most `longest` px per side."""
    factor = max(1.0, max(width, height) / longest)
    return Shape(max(1, round(height / factor)), max(1, round(width / factor)))


def spread(
    source: DatasetReader, index: int, *, longest: int
) -> Iterator[tuple[Window, tuple[int, int]]]:
    """Yield windows that show what values a band holds, and the shape (H, W) to read of each.

    This is the whole band, reduced to at most `longest` px per side by leaving pixels out. A large
    scene without overviews, of which that would read every block, gives evenly spread squares
    instead.
    """
    width, height = source.width, source.height
    if max(width, height) <= 4 * longest or source.overviews(index):
        yield (0, 0, width, height), decimated(width, height, longest=longest)
        return
    across, down = min(width, _SQUARE_PX), min(height, _SQUARE_PX)
    for row in np.linspace(0, height - down, longest // _SQUARE_PX).round().astype(int):
        for column in np.linspace(0, width - across, longest // _SQUARE_PX).round().astype(int):
            yield (int(column), int(row), across, down), (down, across)
