"""Checks of `geovlm doctor` without torch: versions, plugins, PROJ, shared memory, disks."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from geovlm.errors import ConfigError
from geovlm.plugins import installed
from geovlm.plugins.installed import GROUP
from geovlm.run.imports import TORCHVISION_REMEDY, hidden, torchvision_fault

if TYPE_CHECKING:
    from geovlm.plugins.registry import Registry

DISTRIBUTION = "geovlm"
LEAST_FREE = 2_000_000_000
"""Bytes; below it a run with `nano` may fail."""
USUAL_FREE = 50_000_000_000
"""Bytes: two checkpoints of a 3 B model (3.75 B weights) with optimiser, 6 bytes per weight."""
SLOW = 50e6
"""Bytes per second; below it such a checkpoint takes more than seven minutes."""
SHARED_MEMORY = 1 << 30
"""Bytes; a container has 64 MB by default."""
_CHUNK = bytes(4 << 20)
_WRITTEN = 256 << 20
_SECONDS = 3.0
_GDAL_FILE = "gdalvrt.xsd"  # in the data of every GDAL that reads VRT files


class Check(NamedTuple):
    """Result of one check."""

    check: str
    state: Literal["ok", "warn", "FAIL"]
    found: str
    fix: str = ""
    """Action for the user; empty if none is needed."""


def tested() -> dict[str, str]:
    """Return distribution -> version of the set of packages that is tested together."""
    text = (Path(__file__).parent / "tested.txt").read_text(encoding="utf-8")
    return dict(line.split("==") for line in text.split())


def versions(
    present: Mapping[str, str] | None = None, requires: Iterable[str] | None = None
) -> list[Check]:
    """Compare installed versions, by normalised name, with required and with tested ones."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
    from packaging.version import Version

    here = _installed() if present is None else present
    wanted = [Requirement(text) for text in (_requires() if requires is None else requires)]
    found = [Check("python", "ok", f"{platform.python_version()}, {sys.executable}")]
    failed = set()
    for each in wanted:
        name = canonicalize_name(each.name)
        if each.marker is not None and not each.marker.evaluate({"extra": ""}):
            continue
        if name not in here:
            wrong = "not installed"
        elif not each.specifier.contains(here[name], prereleases=True):
            wrong = f"{here[name]}, needs {each.specifier}"
        else:
            continue
        found.append(Check(each.name, "FAIL", wrong, f"pip install '{each}'"))
        failed.add(name)
    same, other = 0, []
    for package, version in tested().items():
        own = here.get(canonicalize_name(package))
        if own is None or canonicalize_name(package) in failed:
            continue
        if Version(own).public == version:
            same += 1
        else:
            fix = f"if something fails: pip install {package}=={version}"
            other.append(Check(package, "warn", f"{own}, tested with {version}", fix))
    found.append(Check("versions", "ok", f"{same} packages are as tested, {len(other)} are not"))
    return found + other


def imports() -> list[Check]:
    """Report modules that a folder of PYTHONPATH hides, and a torchvision that does not fit torch.

    The second fails: every process of the engine would end with another message of transformers.
    """
    found = [Check(f"import {each.module}", "warn", str(each), each.fix) for each in hidden()]
    fault = torchvision_fault()
    if fault is not None:
        found.append(Check("torchvision", "FAIL", fault, TORCHVISION_REMEDY))
    return found


def conflicts() -> list[Check]:
    """Report distributions with several metadata folders, or with an empty one."""
    also = [*tested(), "vllm", "torchvision"]
    return [
        Check(f"metadata of {each.project}", "warn", each.found, each.fix)
        for each in installed.conflicts(group=GROUP, also=also)
    ]


def plugins(registry: Registry) -> list[Check]:
    """Report the number of active plugins, and each broken or incompatible one."""
    records = registry.plugins
    active = [record for record in records if record.status == "active"]
    found = [Check("plugins", "ok", f"{len(active)} active, {len(registry.tasks)} tasks")]
    for record in records:
        if record.status in ("broken", "incompatible"):
            fix = f"geovlm plugins doctor {record.name}"
            found.append(Check(f"plugin {record.name}", "warn", str(record.status), fix))
    return found


def geodata() -> list[Check]:
    """Check that GDAL and PROJ find their own data, which variables of other programs hide."""
    import rasterio

    from geovlm.raster import faults

    found = f"GDAL {rasterio.__gdal_version__}, PROJ {rasterio.__proj_version__}"
    try:
        faults.require_proj()
    except ConfigError as error:
        return [Check("GDAL and PROJ", "FAIL", str(error.args[0]), error.hint)]
    folder = os.environ.get("GDAL_DATA")
    if folder is not None and not (Path(folder) / _GDAL_FILE).is_file():
        found = f"{found}; GDAL_DATA={folder} holds no data of GDAL"
        return [Check("GDAL and PROJ", "warn", found, "unset GDAL_DATA")]
    return [Check("GDAL and PROJ", "ok", found)]


def disk(folder: Path) -> list[Check]:
    """Measure free space and write speed at a folder, or at its nearest existing parent."""
    place = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())
    if not os.access(place, os.W_OK):
        fix = "give an --out on another disk"
        return [Check("disk", "FAIL", f"{place} cannot be written", fix)]
    free = shutil.disk_usage(place).free
    found = f"{free / 1e9:.0f} GB free at {place}"
    if free < LEAST_FREE:
        return [Check("disk", "FAIL", found, "free some space, or give an --out on another disk")]
    if free < USUAL_FREE:
        fix = "enough for nano; checkpoints of a 3 B model with its optimiser take 23 GB each"
        checks = [Check("disk", "warn", found, fix)]
    else:
        checks = [Check("disk", "ok", found)]
    try:
        speed = write_speed(place)
    except OSError as error:
        return [*checks, Check("disk, writing", "FAIL", str(error), "give another --out")]
    state: Literal["ok", "warn"] = "warn" if speed < SLOW else "ok"
    fix = "checkpoints will take minutes; give an --out on a faster disk" if speed < SLOW else ""
    return [*checks, Check("disk, writing", state, f"{speed / 1e6:.0f} MB/s", fix)]


def write_speed(folder: Path) -> float:
    """Return bytes per second for up to 256 MB, written and synced to the disk."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".geovlm-doctor-") as file:
        started, written = time.monotonic(), 0
        while written < _WRITTEN and time.monotonic() - started < _SECONDS:
            written += file.write(_CHUNK)
        file.flush()
        os.fsync(file.fileno())
        return written / max(time.monotonic() - started, 1e-6)


def shared_memory(*, ranks: int, folder: Path = Path("/dev/shm")) -> list[Check]:
    """Warn of small shared memory of a container, through which processes communicate."""
    if ranks < 2 or not folder.is_dir():
        return []
    total = shutil.disk_usage(folder).total
    found = f"{total / 1e9:.1f} GB"
    if total >= SHARED_MEMORY:
        return [Check("shared memory", "ok", found)]
    return [Check("shared memory", "warn", found, "docker run --shm-size=8g, or --ipc=host")]


def _installed() -> dict[str, str]:
    from packaging.utils import canonicalize_name

    names = {each.name for each in metadata.distributions() if each.name is not None}
    return {canonicalize_name(name): installed.version(name) or "unknown" for name in names}


def _requires() -> list[str]:
    for each in metadata.distributions(name=DISTRIBUTION):
        if each.requires:
            return each.requires
    return []
