"""Reads installed plugins from metadata alone: entry points, versions, requirements."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from pathlib import Path
from typing import NamedTuple

from geovlm import __version__

GROUP = "geovlm"
"""Group of the entry points of plugins."""
_REQUIRES_CORE = re.compile(r"\s*geovlm\s*([\[<>=!~;(@ ]|$)", re.IGNORECASE)


class Metadata(NamedTuple):
    """Name, version and requirements of a distribution; `unknown` where it states none."""

    distribution: str
    version: str
    requires: tuple[str, ...]


_UNKNOWN = Metadata("unknown", "unknown", ())


class Plugin(NamedTuple):
    """An entry point and the metadata of its distribution."""

    entry: EntryPoint
    metadata: Metadata


class Installed(NamedTuple):
    """The entry points of one group, and the distributions that could not be read."""

    plugins: list[Plugin]
    """Sorted by name; one distribution seen twice on the path counts once."""
    problems: list[str]
    """One line per unreadable distribution, of whatever project, and per conflict."""


class Conflict(NamedTuple):
    """Metadata folders of one distribution that contradict each other, or an empty one."""

    project: str
    """Normalised name, with `-`."""
    found: str
    fix: str
    used: Path | None
    """The folder that counts, if it is not the one that Python takes."""

    def __str__(self) -> str:
        return f"{self.project}: {self.found} ({self.fix})"


def find(*, group: str) -> Installed:
    """Return the plugins that are installed under a group of entry points."""
    problems: list[str] = []
    try:
        found = list(entry_points(group=group))
    except Exception:  # one damaged entry_points.txt, of any project, hides those of all others
        found, problems = _select(distributions(), group)
    read = [Plugin(entry, _read(entry)) for entry in found]
    contradicting = {conflict.project: conflict for conflict in conflicts(group=group)}
    for project, conflict in contradicting.items():
        problems.append(str(conflict))
        if conflict.used is not None:
            read = [one for one in read if _project(one.metadata.distribution) != project]
            entries, damaged = _select([Distribution.at(conflict.used)], group)
            problems += damaged
            read += [Plugin(entry, _read(entry)) for entry in entries]
    problems += [
        f"plugin {one.entry.name!r}: its metadata cannot be read, so its requirements are not "
        "checked (reinstall its distribution)"
        for one in read
        if one.metadata == _UNKNOWN and _project(f"geovlm-{one.entry.name}") not in contradicting
    ]
    unique = {(one.entry.name, one.entry.value, one.metadata.distribution): one for one in read}
    return Installed([unique[key] for key in sorted(unique)], problems)


def conflicts(*, group: str, also: Iterable[str] = ()) -> list[Conflict]:
    """Return the conflicts of GeoVLM, of plugins, and of the distributions `also`, by name.

    Python takes the first metadata folder of a name on its path, which may be what an interrupted
    uninstall left, and hides the others (python/importlib_metadata#489). Here the first one that
    holds metadata counts, and within a folder the newest version.
    """
    wanted = {"geovlm", *map(_project, also)}
    found: list[Conflict] = []
    for project, infos in sorted(_infos().items()):
        own = project.startswith("geovlm-")
        if own or project in wanted or any(_has(each, group) for each in infos):
            found += _conflicts(project, infos, group=group)
    return found


def _conflicts(project: str, infos: list[Path], *, group: str) -> Iterator[Conflict]:
    """Yield the conflict between the metadata folders of one distribution, if there is one."""
    whole = [each for each in infos if _file(each) is not None]
    damaged = " and ".join(str(each) for each in infos if each not in whole)
    if not whole:
        fix = f"pip install --force-reinstall {project}, or delete the folder"
        yield Conflict(project, f"{damaged} holds no metadata", fix, None)
        return
    if len(infos) == 1:
        return
    candidates = [each for each in whole if _has(each, group)] or whole
    versions = {each: _version(Distribution.at(each)) or "unknown" for each in whole}
    nearest = [each for each in candidates if each.parent == candidates[0].parent]
    used = max(nearest, key=lambda each: _order(versions[each]))
    entries = used if _has(used, group) else None
    bare = " and ".join(str(each) for each in whole if each not in candidates)
    if damaged:
        yield Conflict(
            project, f"{damaged} holds no metadata", f"delete it; {used} counts", entries
        )
    elif bare:
        fix = f"delete it; {used} counts"
        yield Conflict(project, f"{bare} names no plugin", fix, entries)
    elif len(set(versions.values())) > 1:
        places = ", ".join(f"{versions[each]} in {each.parent}" for each in whole)
        yield Conflict(
            project,
            f"there are several versions: {places}",
            f"{versions[used]} counts; pip uninstall {project} until none is left, and install it",
            entries,
        )


def _version(distribution: Distribution) -> str | None:
    try:
        return distribution.metadata["Version"]
    except Exception:  # the file is missing or damaged; the versions of Python raise differently
        return None


def _infos() -> dict[str, list[Path]]:
    """Return project -> its metadata folders in the order of the path, where there are several.

    Those of GeoVLM and its plugins are there in any case.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for folder in dict.fromkeys(sys.path):
        try:
            names = sorted(os.listdir(folder or "."))  # noqa: PTH208  # 300 paths would be slow
        except OSError:
            continue
        for name in names:
            if name.endswith((".dist-info", ".egg-info")):
                stem = name.rpartition(".")[0].partition("-")[0]
                project = stem.lower().replace("_", "-").replace(".", "-")
                found.setdefault(project, []).append((folder, name))
    return {
        project: [Path(*each) for each in places]
        for project, places in found.items()
        if len(places) > 1 or project.startswith("geovlm")
    }


def _file(info: Path) -> Path | None:
    """Return the file with the metadata; `None` if it is missing or empty."""
    files = (info / "METADATA", info / "PKG-INFO", info)  # old egg-infos are files
    return next((each for each in files if each.is_file() and each.stat().st_size), None)


def _has(info: Path, group: str) -> bool:
    try:
        return f"[{group}]" in (info / "entry_points.txt").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def _project(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def version(name: str) -> str | None:
    """Return the version of a distribution; `None` if it is not installed.

    `importlib.metadata.version` fails where the first of several metadata folders is empty.
    """
    found = (_version(each) for each in distributions(name=name))
    return next((each for each in found if each), None)


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
    if entry.dist is None:
        return _UNKNOWN
    try:
        metadata = entry.dist.metadata
        return Metadata(
            metadata["Name"] or "unknown",
            metadata["Version"] or "unknown",
            # from the text that is parsed already: `dist.requires` would parse it again
            tuple(metadata.get_all("Requires-Dist") or entry.dist.requires or ()),
        )
    except Exception:  # the file METADATA is missing or damaged
        return _UNKNOWN


def _select(among: Iterable[Distribution], group: str) -> tuple[list[EntryPoint], list[str]]:
    """Return the entry points of the readable distributions, and the problems of the others."""
    found: list[EntryPoint] = []
    problems: list[str] = []
    for distribution in among:
        try:
            found += distribution.entry_points.select(group=group)
        except Exception as error:
            name = distribution.metadata["Name"]
            problems.append(
                f"distribution {name!r} has an unreadable entry_points.txt, reinstall it: "
                f"{type(error).__name__}: {' '.join(str(error).split())}"
            )
    return found, problems
