"""Parses and checks the options of `geovlm predict` before any work."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

from geovlm.errors import ConfigError, DataError

GEOJSON = (".geojson", ".json")
PACKAGE, PICTURE = ".gpkg", ".png"


def check_files(
    out: Path | None,
    overlay: Path | None,
    *,
    images: Sequence[Path],
    source: bool | None,
    json: bool,
    overwrite: bool,
) -> bool:
    """Refuse files that must not be written; return True if features keep the source CRS.

    `source` is True for the source CRS, `None` for the default of the file format.

    Raises:
        ConfigError: an unknown ending, a file that exists or is an input image, a folder that does
            not exist or is not writable, or options that contradict each other.
    """
    from geovlm.predict import writing

    known = (*GEOJSON, PACKAGE, PICTURE)
    if out is None and json:
        raise ConfigError("--json and GeoJSON both go to standard output", hint="give --out")
    if out is not None and out.suffix.lower() not in known:
        raise ConfigError(f"--out {str(out)!r}: unknown ending", hint=f"one of {', '.join(known)}")
    if overlay is not None and overlay.suffix.lower() != PICTURE:
        raise ConfigError(
            f"--overlay {str(overlay)!r} is not a {PICTURE} file", hint="such as F.png"
        )
    if out is not None and overlay is not None and out.suffix.lower() == PICTURE:
        raise ConfigError("--out is an image already", hint="omit --overlay")
    for path in (out, overlay):
        if path is not None:
            _check_place(path, images, overwrite=overwrite)
    package = out is not None and out.suffix.lower() == PACKAGE
    if package:
        writing.require_geopackage()
    if source and not package:
        raise ConfigError(
            "--crs source: GeoJSON is in longitude and latitude (RFC 7946)",
            hint="give --out F.gpkg for the CRS of the image",
        )
    return package if source is None else source


def _check_place(path: Path, images: Sequence[Path], *, overwrite: bool) -> None:
    folder = path.absolute().parent
    try:
        if not folder.is_dir():
            raise ConfigError(f"{path.parent} is not a folder", hint="create it first")
        if path.is_dir():
            raise ConfigError(f"{path} is a folder", hint="name a file")
        if path.exists() and any(each.exists() and path.samefile(each) for each in images):
            raise ConfigError(f"{path} is an input image", hint="name another file")
        if path.exists() and not overwrite:
            raise ConfigError(f"{path} exists", hint="--overwrite replaces it")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="name a file in a folder that you may write to",
        ) from error


def numbers(text: str, *, option: str, count: tuple[int, ...]) -> tuple[float, ...]:
    """Return the numbers of an option, or refuse another `count` of them."""
    try:
        values = tuple(map(float, text.split(",")))
    except ValueError:
        values = ()
    if len(values) not in count or not all(map(math.isfinite, values)):
        wanted = " or ".join(map(str, count))
        raise ConfigError(f"{option} {text!r} is not {wanted} numbers separated by commas")
    return values


def value_range(text: str | None) -> tuple[float, float] | None:
    """Return the values that become black and white, the smaller one first."""
    if text is None:
        return None
    low, high = numbers(text, option="--range", count=(2,))
    if not high > low:
        raise ConfigError(f"--range {text!r}: the first number must be below the second")
    return low, high


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """Return keys and values of `KEY=TEXT`."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ConfigError(f"--ask {text!r} is not of the form KEY=TEXT")
        found[key] = value
    return found


def stamps(paths: Sequence[Path]) -> tuple[tuple[str, int, int], ...]:
    """Return the state of the images' files, so that a changed image is not resumed."""
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such image file", hint="check the path")
        files += sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else []
        files += [path] if path.is_file() else []
    found = [(file.absolute(), file.stat()) for file in files]
    return tuple((str(file), state.st_size, state.st_mtime_ns) for file, state in found)
