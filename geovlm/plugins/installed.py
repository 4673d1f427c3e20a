"""Reads installed plugins from metadata alone: entry points, versions, requirements."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import EntryPoint, distributions, entry_points
from typing import NamedTuple

from geovlm import __version__

_REQUIRES_CORE = re.compile(r"\s*geovlm\s*([\[<>=!~;(@ ]|$)", re.IGNORECASE)


class Metadata(NamedTuple):
    """Name, version and requirements of a distribution; `unknown` where it states none."""

    distribution: str
    version: str
    requires: tuple[str, ...]


class Plugin(NamedTuple):
    """An entry point and the metadata of its distribution."""

    entry: EntryPoint
    metadata: Metadata


class Installed(NamedTuple):
    """The entry points of one group, and the distributions that could not be read."""

    plugins: list[Plugin]
    """Sorted by name; one distribution seen twice on the path counts once."""
    problems: list[str]
    """One line per unreadable distribution, of whatever project."""


def find(*, group: str) -> Installed:
    """Return the plugins that are installed under a group of entry points."""
    problems: list[str] = []
    try:
        found = list(entry_points(group=group))
    except Exception:  # one damaged entry_points.txt, of any project, hides those of all others
        found, problems = _one_by_one(group)
    unique: dict[tuple[str, str, str], Plugin] = {}
    for entry in found:
        metadata = _read(entry)
        unique[entry.name, entry.value, metadata.distribution] = Plugin(entry, metadata)
    return Installed([unique[key] for key in sorted(unique)], problems)


def incompatible(requires: Iterable[str]) -> str:
    """Return why this GeoVLM does not meet a plugin's requirements; empty if it does.

    Raises:
        InvalidRequirement: a requirement on geovlm cannot be read.
    """
    lines = [line for line in requires if _REQUIRES_CORE.match(line)]
    if not lines:
        return ""
    from packaging.requirements import Requirement  # 15 ms that a core without plugins can save

    for requirement in map(Requirement, lines):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if not requirement.specifier.contains(__version__, prereleases=True):
            return f"needs geovlm{requirement.specifier}, this is geovlm {__version__}"
    return ""


def _read(entry: EntryPoint) -> Metadata:
    """Return the metadata of the distribution behind an entry point, as far as it is readable."""
    unknown = Metadata("unknown", "unknown", ())
    if entry.dist is None:
        return unknown
    try:
        metadata = entry.dist.metadata
        return Metadata(
            metadata["Name"] or "unknown",
            metadata["Version"] or "unknown",
            # from the text that is parsed already: `dist.requires` would parse it again
            tuple(metadata.get_all("Requires-Dist") or entry.dist.requires or ()),
        )
    except Exception:  # the file METADATA is missing or damaged
        return unknown


def _one_by_one(group: str) -> tuple[list[EntryPoint], list[str]]:
    """Return the entry points of the readable distributions, and the problems of the others."""
    found: list[EntryPoint] = []
    problems: list[str] = []
    for distribution in distributions():
        try:
            found += distribution.entry_points.select(group=group)
        except Exception as error:
            name = distribution.metadata["Name"]
            problems.append(
                f"distribution {name!r} has an unreadable entry_points.txt, reinstall it: "
                f"{type(error).__name__}: {' '.join(str(error).split())}"
            )
    return found, problems
