"""Writes a new plugin package from the template in this folder."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from geovlm.errors import GeoVLMError

TEMPLATE = Path(__file__).parent / "template"
"""A copier template: `copier.yml`, and the package under `project`."""

# Narrower than the names of the registry: the name is also part of a distribution's name.
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


class ScaffoldError(GeoVLMError):
    """A package that cannot be written: its name is not allowed, or its folder is not free."""


def check_name(name: str, *, taken: Mapping[str, str]) -> None:
    """Refuse a name that a plugin cannot have.

    `taken`: first segment of every name that exists -> kind of its owner, such as `plugin`.

    Raises:
        ScaffoldError: the name has characters that are not allowed, or is taken; the hint has
            another one.
    """
    if not _NAME.fullmatch(name):
        near = _nearest(name)
        guess = f"did you mean {near!r}? " if _NAME.fullmatch(near) else ""
        raise ScaffoldError(
            f"{name!r} is not a plugin name",
            hint=f"{guess}start with a letter, then use a to z, 0 to 9 and single underscores",
        )
    if name in taken:
        free = next(f"{name}_{i}" for i in range(2, len(taken) + 3) if f"{name}_{i}" not in taken)
        raise ScaffoldError(
            f"the name {name!r} is taken by a {taken[name]}",
            hint=f"choose another one, such as {free!r}",
        )


def compatible_range(version: str) -> str:
    """Return the versions whose plugin interface is that of `version`: `0.1.4` gives `>=0.1,<0.2`.

    From 1.0 on only a major version may break the interface: `1.4.2` gives `>=1.4,<2`.
    """
    major, minor = (int(part) for part in re.findall(r"\d+", version)[:2])
    return f">={major}.{minor},<{major + 1}" if major else f">=0.{minor},<0.{minor + 1}"


def write(name: str, *, out: Path, version: str, template: Path = TEMPLATE) -> list[Path]:
    """Write the package of a plugin for a version of GeoVLM into `out`, whole or not at all.

    It is rendered into a temporary folder on the same file system, then renamed; `out` may exist if
    it is empty. The written files are returned, sorted, relative to `out`.

    Raises:
        ScaffoldError: `out` is a file or a folder that is not empty, or cannot be written.
    """
    _check_free(out)
    import copier  # half a second that only this needs

    target = out.absolute()
    data = {"name": name, "geovlm_range": compatible_range(version), "geovlm_version": version}
    existing = next(folder for folder in target.parents if folder.is_dir())
    try:
        with tempfile.TemporaryDirectory(prefix=".geovlm-new-", dir=existing) as scratch:
            made = Path(scratch) / "package"
            copier.run_copy(str(template), made, data=data, defaults=True, quiet=True)
            files = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
            target.parent.mkdir(parents=True, exist_ok=True)
            made.rename(target)
    except OSError as error:
        _check_free(out)  # another process may have written there meanwhile
        raise ScaffoldError(
            f"{out} cannot be written: {error.strerror}", hint="choose another folder with --out"
        ) from error
    return files


def _check_free(out: Path) -> None:
    if out.is_dir() and any(out.iterdir()):
        raise ScaffoldError(
            f"folder {str(out)!r} is not empty",
            hint="choose another one with --out; nothing is overwritten",
        )
    if out.exists() and not out.is_dir():
        raise ScaffoldError(f"{str(out)!r} is a file", hint="name a folder with --out")


def _nearest(name: str) -> str:
    """Return the nearest allowed name: `GeoVLM-Sea-Ice` gives `sea_ice`."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return plain.removeprefix("geovlm_").lstrip("0123456789_")
