"""Turns image references into JSON and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geovlm.api import Json, Raster
from geovlm.raster.bands import needed


def encode(ref: Path | Raster) -> Json:
    """Return the reference as JSON with absolute paths; `decode` reads it back.

    Of a `Raster`, it holds the files that the picture needs. Fields that earlier versions did not
    write are left out at their defaults.
    """
    if not isinstance(ref, Raster):
        return str(ref.absolute())
    nodata = ref.nodata
    encoded: dict[str, Any] = {
        "files": {name: str(ref.files[name].absolute()) for name in needed(ref)},
        "bands": list(ref.bands),
        "low": ref.low,
        "high": ref.high,
        "band_index": dict(ref.band_index),
        "nodata": "nan" if nodata is not None and math.isnan(nodata) else nodata,
    }
    if ref.file is not None:
        encoded["file"] = str(ref.file.absolute())
    if ref.ranges:
        encoded["ranges"] = {name: list(pair) for name, pair in ref.ranges.items()}
    if ref.scaling != "range":
        encoded["scaling"] = ref.scaling
    if ref.reflectance is not None:
        encoded["reflectance"] = ref.reflectance
    if ref.offset:
        encoded["offset"] = ref.offset
    if ref.window is not None:
        encoded["window"] = list(ref.window)
    return encoded


def decode(encoded: Json) -> Path | Raster:
    """Read a reference that `encode` has written."""
    if isinstance(encoded, str):
        return Path(encoded)
    if not isinstance(encoded, Mapping):
        raise TypeError(f"an encoded image must be a string or an object, not {encoded!r:.80}")
    found: dict[str, Any] = dict(encoded)
    found["files"] = {name: Path(path) for name, path in found["files"].items()}
    found["bands"] = tuple(found["bands"])
    found["nodata"] = None if found["nodata"] is None else float(found["nodata"])
    if "file" in found:
        found["file"] = Path(found["file"])
    if "window" in found:
        found["window"] = tuple(found["window"])
    if "ranges" in found:
        found["ranges"] = {name: tuple(pair) for name, pair in found["ranges"].items()}
    return Raster(**found)
