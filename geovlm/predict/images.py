"""Turns an image that a user names into a reference that can be read in windows."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path

from geovlm.api import Raster
from geovlm.errors import ConfigError, DataError
from geovlm.files.images import is_clutter

PERCENTILES = (2.0, 98.0)
"""Percentiles of the whole scene that are shown as black and white."""
_SUFFIXES = frozenset({".tif", ".tiff", ".jp2", ".vrt"})


def reference(
    path: Path,
    *,
    bands: Sequence[str] | None = None,
    value_range: tuple[float, float] | None = None,
) -> Path | Raster:
    """Return the image at a path: the path itself for a picture, else a `Raster`.

    A file is a picture if `open_image` shows it without a choice, see
    `geovlm.raster.appearance.appearance`. Other files show `bands` (names, or numbers from 1: three
    as red, green and blue, or one as grey), or else their only band or their three bands (those
    named red, green and blue as such, in any order). They are stretched from `value_range`, the
    stored values shown as black and white, or else from percentiles of the whole scene; 8-bit
    values are not stretched. A folder holds one file per band, whose name ends with the band's
    (`…_B04.tif`, `…_B04_10m.jp2`).

    Raises:
        DataError: The file is missing or not a raster; the folder lacks a band.
        ConfigError: A choice of bands is needed, or `bands` has neither three nor one.
    """
    from geovlm.raster.bands import role_of
    from geovlm.raster.files import layout, opened
    from geovlm.raster.pictures import is_picture

    chosen = _three(bands) if bands is not None else None
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where one may not look
        if chosen is None:
            raise ConfigError(
                f"{path} is a folder: choose those of its bands to show as red, green and blue",
                hint="--bands R,G,B by name, such as B04,B03,B02",
            )
        files = {name: _band_file(path, name) for name in dict.fromkeys(chosen)}
        return _scaled(Raster(files=files, bands=chosen), value_range=value_range, eight_bit=False)
    if chosen is None and value_range is None and is_picture(path):
        return path
    with opened(path) as source:
        count, kinds, names = source.count, set(source.dtypes), layout(source).names
    eight_bit = kinds == {"uint8"}
    if chosen is None and count not in (1, 3):
        listed = ", ".join(f"{i} {name}".strip() for i, name in enumerate(names, start=1))
        raise ConfigError(
            f"{path} has {count} bands: choose those to show as red, green and blue",
            hint=f"--bands R,G,B by name or number; it has {listed}",
        )
    if chosen is None and count == 1:
        chosen = ("1", "1", "1")
    elif chosen is None:
        called = [role_of(name) for name in names]
        known = {"red", "green", "blue"} <= set(called)
        order = [called.index(each) for each in ("red", "green", "blue")] if known else range(3)
        first, second, third = (str(i + 1) for i in order)
        chosen = (first, second, third)
    index = {name: int(name) for name in chosen if name.isdecimal()}
    made = Raster(file=path, bands=chosen, band_index=index)
    return _scaled(made, value_range=value_range, eight_bit=eight_bit)


def first_file(image: Path | Raster) -> Path:
    """Return the file of an image; of several files, that of the first band."""
    if not isinstance(image, Raster):
        return image
    from geovlm.raster.bands import locate

    return locate(image, image.bands[0]).path


def _three(bands: Sequence[str]) -> tuple[str, str, str]:
    given = [band.strip() for band in bands if band.strip()]
    if len(given) == 1:
        given *= 3
    if len(given) != 3:
        raise ConfigError(f"--bands names {len(given)} bands", hint="give three, or one for grey")
    return given[0], given[1], given[2]


def _scaled(made: Raster, *, value_range: tuple[float, float] | None, eight_bit: bool) -> Raster:
    low, high = value_range or ((0.0, 255.0) if eight_bit else PERCENTILES)
    if value_range or eight_bit:
        return dataclasses.replace(made, low=low, high=high)
    return dataclasses.replace(made, low=low, high=high, scaling="percentile")


def _band_file(folder: Path, band: str) -> Path:
    """Find the one file of a band in a folder by the end of its name."""
    from geovlm.raster.faults import unreadable

    ending = re.compile(rf"(?:^|[_.-]){re.escape(band)}(?:_\d+m)?$", re.IGNORECASE)
    try:
        listed = sorted(folder.iterdir())
    except OSError as error:
        raise unreadable(folder, error) from error
    files = [
        path for path in listed if path.suffix.lower() in _SUFFIXES and not is_clutter(path.name)
    ]
    fitting = [path for path in files if ending.search(path.stem)]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        held = ", ".join(path.name for path in files[:10]) or "no TIFF, JP2 or VRT"
        raise DataError(f"{folder} has no file of band {band!r}", hint=f"it holds {held}")
    raise DataError(
        f"{folder} has several files of band {band!r}: {', '.join(p.name for p in fitting)}",
        hint=f"name it in full, such as --bands {band}_10m,…, or give the folder of one resolution",
    )
