"""Finds the bands of a `Raster` by name and reads their values, or those of an index."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from geovlm.api import Raster, Size
from geovlm.errors import DataError
from geovlm.raster.files import (
    Window,
    cached_layout,
    opened,
    read,
    require_finished,
    state,
)
from geovlm.raster.fills import declared_nodata, fills, without_fills
from geovlm.raster.masks import valid
from geovlm.raster.places import grids

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

INDICES = {"NDVI": ("nir", "red"), "NDWI": ("green", "nir")}
"""Index -> a and b of (a - b) / (a + b): Rouse et al. 1974; McFeeters 1996, IJRS 17(7)."""
ROLES = {
    "blue": ("B02", "blue"),
    "green": ("B03", "green"),
    "red": ("B04", "red"),
    "nir": ("B08", "nir"),
    "nir_narrow": ("B8A", "nir08"),
    "swir1": ("B11", "swir1", "swir16"),
    "swir2": ("B12", "swir2", "swir22"),
}
"""Part of the spectrum -> names of its band: in Sentinel-2, as a word, in STAC catalogues."""


class Band(NamedTuple):
    """File, number and size of a band."""

    path: Path
    number: int
    """Number in the file, from 1."""
    size: Size
    """Width and height, pixels."""


class Bands:
    """Open files of a `Raster`; made by `bands_of`."""

    def __init__(self, ref: Raster, stack: ExitStack) -> None:
        self.ref = ref
        self._stack = stack
        self._sources: dict[Path, DatasetReader] = {}
        self._moved: dict[Path, grids.Moved | None] = {}

    def source(self, path: Path) -> DatasetReader:
        """Open a file, or return it if it is open."""
        if path not in self._sources:
            self._sources[path] = self._stack.enter_context(opened(path))
        return self._sources[path]

    def values(
        self, name: str, *, window: Window, grid: Size, shape: tuple[int, int]
    ) -> np.ndarray:
        """Read the stored values of a band, or an index: (H, W) float32, NaN where no data.

        `grid` is the size of the raster's first band, of which `window` is read. Another file is
        brought to its place, see `moved`. A band of another size that covers the same ground is
        resampled (bilinear). If `shape`, (H, W), is smaller than the window, pixels are left out.

        Raises:
            DataError: A file cannot be read, or does not show the same place.
        """
        if not is_index(self.ref, name):
            return self._band_values(name, window=window, grid=grid, shape=shape)
        first, second = (
            self._band_values(
                role_name(self.ref, role, index=name), window=window, grid=grid, shape=shape
            )
            - np.float32(self.ref.offset)
            for role in INDICES[name]
        )
        total = first + second
        return np.divide(first - second, total, out=np.full_like(total, np.nan), where=total > 0)

    def moved(self, path: Path) -> grids.Moved | None:
        """Return a file on the grid of the first band; `None` if it covers the same ground.

        Raises:
            DataError: The files do not show the same place; names both extents.
        """
        first = locate(self.ref, self.ref.bands[0]).path
        if path == first:
            return None
        if path not in self._moved:
            self._moved[path] = grids.moved(
                grids.Opened(path, self.source(path)),
                grids.Opened(first, self.source(first)),
                nodata=nodata_in(self.ref, path),
                stack=self._stack,
            )
        return self._moved[path]

    def _band_values(
        self, name: str, *, window: Window, grid: Size, shape: tuple[int, int]
    ) -> np.ndarray:
        band = locate(self.ref, name)
        source = self.source(band.path)
        require_finished(source, band.number)
        moved = self.moved(band.path)
        if moved is not None:
            return read(moved.source, band.number, window=window, shape=shape)
        if band.size == grid:
            return self._stored(source, band.number, window=window, shape=shape)
        part = tuple(
            edge * own / whole
            for edge, own, whole in zip(
                (window[0], window[1], window[0] + window[2], window[1] + window[3]),
                band.size * 2,
                grid * 2,
                strict=True,
            )
        )
        # bilinear weights reach one pixel further, or one pixel of the result if that is wider
        reach = max(1.0, (part[2] - part[0]) / shape[1], (part[3] - part[1]) / shape[0])
        margin = math.ceil(reach) + 1
        left, top = (max(0, math.floor(edge) - margin) for edge in part[:2])
        right, bottom = (
            min(whole, math.ceil(edge) + margin)
            for edge, whole in zip(part[2:], band.size, strict=True)
        )
        around = (left, top, right - left, bottom - top)
        # at most twice as many pixels as the result, so that memory follows the result
        factor = max(1.0, min(around[2] / (2 * shape[1]), around[3] / (2 * shape[0])))
        height, width = math.ceil(around[3] / factor), math.ceil(around[2] / factor)
        values = self._stored(source, band.number, window=around, shape=(height, width))
        across, down = width / around[2], height / around[3]
        box = (
            (part[0] - left) * across,
            (part[1] - top) * down,
            (part[2] - left) * across,
            (part[3] - top) * down,
        )
        image = Image.fromarray(values).resize(shape[::-1], Image.Resampling.BILINEAR, box=box)
        return np.asarray(image)

    def _stored(
        self, source: DatasetReader, index: int, *, window: Window, shape: tuple[int, int]
    ) -> np.ndarray:
        stored = read(source, index, window=window, shape=shape)
        good = valid(source, index, values=stored, window=window, nodata=self.ref.nodata)
        if self.ref.scaling == "percentile":
            file = state(Path(source.name))
            good &= without_fills(stored, fills(file, index, declared_nodata(self.ref)))
        with np.errstate(over="ignore"):  # values beyond float32 become infinite
            values = stored.astype(np.float32)
        values[~good] = np.nan
        return values


@contextmanager
def bands_of(ref: Raster) -> Iterator[Bands]:
    """Yield the bands of a raster; their files are closed afterwards."""
    with ExitStack() as stack:
        yield Bands(ref, stack)


def locate(ref: Raster, name: str) -> Band:
    """Find a band by name, or the first band of an index, from cached headers.

    Raises:
        DataError: There is no such band; or its file is absent, empty or not a raster.
    """
    if is_index(ref, name):
        name = role_name(ref, INDICES[name][0], index=name)
    path = _path(ref, name)
    found = cached_layout(state(path))
    return Band(path, _index(ref, name, path=path, names=found.names), found.size)


def available(ref: Raster) -> tuple[str, ...]:
    """Return the names of all bands: of `files`, then of `file` by number and by its own names.

    Raises:
        DataError: `file` is absent, empty or not a raster.
    """
    if ref.file is None:
        return tuple(ref.files)
    numbered = [name for name in ref.band_index if name not in ref.files]
    taken = {ref.band_index[name] for name in numbered}
    own = cached_layout(state(ref.file)).names
    described = [name for i, name in enumerate(own, start=1) if name and i not in taken]
    return tuple(dict.fromkeys([*ref.files, *numbered, *described]))


def needed(ref: Raster) -> tuple[str, ...]:
    """Return the names in `files` that `bands` and their indices need, as far as known."""
    if not ref.files:
        return ()
    return _needed(ref.bands, tuple(ref.files), _known(ref))


@lru_cache(maxsize=256)
def _needed(
    bands: tuple[str, ...], files: tuple[str, ...], known: tuple[str, ...]
) -> tuple[str, ...]:
    """Return `needed` of all references that have these names."""
    found = roles(known)
    taken: list[str] = []
    for name in bands:
        is_one = name in INDICES and name not in known
        taken += [found.get(role, "") for role in INDICES[name]] if is_one else [name]
    return tuple(name for name in dict.fromkeys(taken) if name in files)


def nodata_in(ref: Raster, path: Path) -> float | None:
    """Return the stored value without data in a file of a raster, which resampling must not mix in.

    `None`: the one that the file declares, if any. An undeclared fill counts where percentiles
    leave it out.
    """
    if ref.nodata is not None or ref.scaling != "percentile":
        return ref.nodata
    shown = [locate(ref, name) for name in ref.bands if not is_index(ref, name)]
    found = (fills(state(path), band.number, None) for band in shown if band.path == path)
    return next((fill.value for some in found for fill in some if fill.left_out), None)


def is_index(ref: Raster, name: str) -> bool:
    """Return True if a name means an index; a band of the same name comes first."""
    return name in INDICES and name not in _known(ref)


def role_name(ref: Raster, role: str, *, index: str) -> str:
    """Return the name of the band that covers a part of the spectrum.

    Raises:
        DataError: There is no such band; names the index that needs it, and the bands.
    """
    found = roles(available(ref))
    if role not in found:
        raise DataError(
            f"{ref.file or next(iter(ref.files.values()), 'Raster')}: {index} needs a band named "
            f"{' or '.join(ROLES[role])}",
            hint=f"its bands are {', '.join(available(ref)) or 'none'}",
        )
    return found[role]


def roles(bands: Sequence[str]) -> dict[str, str]:
    """Return part of the spectrum -> name of its band, for the names that are known."""
    names = {_key(name): name for name in reversed(bands)}
    return {
        role: next(names[_key(known)] for known in options if _key(known) in names)
        for role, options in ROLES.items()
        if any(_key(known) in names for known in options)
    }


def role_of(name: str) -> str | None:
    """Return the part of the spectrum that a band covers by its name; `None` if unknown."""
    return next((role for role, known in ROLES.items() if _key(name) in map(_key, known)), None)


def _known(ref: Raster) -> tuple[str, ...]:
    """Return `available`; if `file` cannot be read, the names of the reference."""
    try:
        return available(ref)
    except DataError:
        return (*ref.files, *ref.band_index)


def _path(ref: Raster, name: str) -> Path:
    if name in ref.files:
        return ref.files[name]
    if ref.file is None:
        raise DataError(
            f"band {name!r} has no file", hint=f"Raster.files has {', '.join(ref.files) or 'none'}"
        )
    return ref.file


def _index(ref: Raster, name: str, *, path: Path, names: Sequence[str]) -> int:
    """Return the number of a band in its file, whose bands have `names`."""
    if name in ref.band_index:
        index = ref.band_index[name]
        if not 1 <= index <= len(names):
            raise DataError(
                f"{path}: band {index} does not exist, the file has {len(names)}",
                hint="Raster.band_index counts from 1",
            )
        return index
    same = [i for i, own in enumerate(names, start=1) if own == name]
    alike = same or [i for i, own in enumerate(names, start=1) if own and _key(own) == _key(name)]
    if len(alike) == 1:
        return alike[0]
    if len(names) == 1 and name in ref.files:
        return 1
    if len(alike) > 1:
        raise DataError(
            f"{path}: bands {', '.join(map(str, alike))} are all named {name!r}",
            hint="choose one by Raster.band_index",
        )
    known = available(ref) if ref.file == path else tuple(n for n in names if n)
    hint = f"its {len(names)} band(s) have no names: number them, as in band_index={{{name!r}: 1}}"
    if known:
        hint = f"it has {', '.join(known)}"
    raise DataError(f"{path}: no band is named {name!r}", hint=hint)


def _key(name: str) -> str:
    """Return the form of a name that is compared: `b4` is `B04`, `Red` is `red`."""
    folded = name.strip().casefold()
    return f"b{folded[2:]}" if folded.startswith("b0") else folded
