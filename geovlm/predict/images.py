"""Turns an image that a user names into a reference that can be read in windows."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from geovlm.api import Raster
from geovlm.errors import ConfigError, DataError
from geovlm.files.images import is_clutter

_SUFFIXES = frozenset({".tif", ".tiff", ".jp2", ".vrt"})


def reference(
    path: Path,
    *,
    bands: Sequence[str] | None = None,
    value_range: tuple[float, float] | None = None,
) -> Path | Raster:
    """Return the image at a path: the path itself for a picture, else a `Raster`.

    A file is shown as `geovlm.raster.images.reference_of` says. A folder holds one file per band,
    whose name ends with the band's (`…_B04.tif`, `…_B04_10m.jp2`).

    Raises:
        DataError: The file is missing or not a raster; the folder lacks a band.
        ConfigError: A choice of bands is needed, or `bands` has neither three nor one.
    """
    from geovlm.raster import images

    if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where one may not look
        return images.reference_of(path, bands=bands, value_range=value_range)
    if bands is None:
        raise ConfigError(
            f"{path} is a folder: choose those of its bands to show as red, green and blue",
            hint="--bands R,G,B by name, such as B04,B03,B02",
        )
    chosen = images.three(bands)
    files = {name: _band_file(path, name) for name in dict.fromkeys(chosen)}
    made = Raster(files=files, bands=chosen)
    return images.scaled(made, value_range=value_range, eight_bit=False)


def first_file(image: Path | Raster) -> Path:
    """Return the file of an image; of several files, that of the first band."""
    if not isinstance(image, Raster):
        return image
    from geovlm.raster.bands import locate

    return locate(image, image.bands[0]).path


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
