"""Options of `geovlm predict`, checked before any work is done."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geovlm.errors import ConfigError, DataError

if TYPE_CHECKING:
    from geovlm.predict.job import Stamp

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
    """Refuse files that cannot or must not be written; whether features keep the source CRS.

    Args:
        out: the file of features.
        overlay: the picture.
        images: what is looked at.
        source: whether the source CRS is asked for; `None`: as is usual for the file.
        json: whether a summary is to be printed.
        overwrite: whether files may be replaced.

    Raises:
        ConfigError: an unknown ending, a file that exists or is an image, a folder that is not
            there or takes no file, options at odds.
    """
    from geovlm.predict import writing

    known = (*GEOJSON, PACKAGE, PICTURE)
    if out is None and json:
        raise ConfigError("--json prints a summary where GeoJSON would go", hint="give --out")
    if out is not None and out.suffix.lower() not in known:
        raise ConfigError(f"--out {str(out)!r}: unknown ending", hint=f"one of {', '.join(known)}")
    if overlay is not None and overlay.suffix.lower() != PICTURE:
        raise ConfigError(f"--overlay {str(overlay)!r} is no {PICTURE}", hint="such as F.png")
    if out is not None and overlay is not None and out.suffix.lower() == PICTURE:
        raise ConfigError("--out is a picture already", hint="leave out --overlay")
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
            raise ConfigError(f"{path.parent} is no folder", hint="make it first")
        if path.is_dir():
            raise ConfigError(f"{path} is a folder", hint="name a file")
        if path.exists() and any(each.exists() and path.samefile(each) for each in images):
            raise ConfigError(f"{path} is an image that is looked at", hint="name another file")
        if path.exists() and not overwrite:
            raise ConfigError(f"{path} exists", hint="--overwrite replaces it")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="name a file in a folder of your own",
        ) from error


def numbers(text: str, *, option: str, count: tuple[int, ...]) -> tuple[float, ...]:
    """The numbers of an option.

    Raises:
        ConfigError: they are no numbers, or not so many.
    """
    try:
        values = tuple(map(float, text.split(",")))
    except ValueError:
        values = ()
    if len(values) not in count or not all(map(math.isfinite, values)):
        wanted = " or ".join(map(str, count))
        raise ConfigError(f"{option} {text!r} is not {wanted} numbers with commas between")
    return values


def value_range(text: str | None) -> tuple[float, float] | None:
    """The values shown as black and white.

    Raises:
        ConfigError: they are no two numbers, the smaller one first.
    """
    if text is None:
        return None
    low, high = numbers(text, option="--range", count=(2,))
    if not high > low:
        raise ConfigError(f"--range {text!r}: the first number must be below the second")
    return low, high


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """Keys and values of `KEY=TEXT`.

    Raises:
        ConfigError: one has no `=`.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise ConfigError(f"--ask {text!r} is not of the form KEY=TEXT")
        found[key] = value
    return found


def stamps(paths: Sequence[Path]) -> tuple[Stamp, ...]:
    """Return the state of the images' files, so that a changed image is not resumed.

    Raises:
        DataError: one is missing.
    """
    from geovlm.predict.job import Stamp

    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such image file", hint="check the path")
        files += sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else []
        files += [path] if path.is_file() else []
    found = [(file.absolute(), file.stat()) for file in files]
    return tuple(Stamp(str(file), state.st_size, state.st_mtime_ns) for file, state in found)
