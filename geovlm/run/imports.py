"""Finds what would break the imports of the engine: hidden modules, an unfit torchvision."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata, util
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

from geovlm.errors import ConfigError, DataError
from geovlm.files.caches import cache_dir
from geovlm.plugins import installed
from geovlm.run.process import isolated, python

PACKAGES = {
    **{name: name for name in ("torch", "transformers", "trl", "accelerate", "datasets", "peft")},
    **{name: name for name in ("numpy", "scipy", "shapely", "rasterio", "pydantic", "jinja2")},
    **{"pillow": "PIL", "python-Levenshtein": "Levenshtein"},
    **{name: name for name in ("safetensors", "tokenizers", "nltk", "rapidfuzz", "psutil")},
}
"""Distribution -> its module, for the packages that the engine imports."""
_TRIED = "import torch\nprint(torch.__version__, flush=True)\nimport torchvision"
TORCHVISION_REMEDY = "pip uninstall torchvision, or install the one that belongs to torch"


class Hidden(NamedTuple):
    """A module that import does not reach, and the file in its place."""

    module: str
    file: Path

    def __str__(self) -> str:
        return f"{self.file} hides the module {self.module}"

    @property
    def fix(self) -> str:
        """Action for the user."""
        top = self.file.parent if self.file.name != "__init__.py" else self.file.parent.parent
        return f"remove {top} from PYTHONPATH, or rename the file or folder"


def hidden() -> list[Hidden]:
    """Return the hidden modules of Python, then those of installed packages.

    Only folders of PYTHONPATH count, because our processes import nothing else before Python's own
    modules. A folder with another installation of a package, with its metadata, hides nothing.
    """
    folders = [Path(each) for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    return [*_of_python(folders), *_of_packages([str(each.absolute()) for each in folders])]


def require_torchvision() -> None:
    """Refuse a torchvision that cannot be imported: transformers imports it wherever it is there.

    It is tried in a process, which takes three seconds, once for each torch and torchvision.

    Raises:
        ConfigError: names both versions and the way out.
    """
    found = torchvision_fault()
    if found is not None:
        raise ConfigError(found, hint=TORCHVISION_REMEDY)


def torchvision_fault() -> str | None:
    """Return why the installed torchvision cannot be imported; `None` if it can, or is absent.

    The operators of torchvision are compiled for one build of torch: with another one, its import
    ends with `operator torchvision::nms does not exist`. A torch that cannot be imported itself is
    no fault of torchvision.
    """
    specs = [util.find_spec(name) for name in ("torch", "torchvision")]
    files = [Path(each.origin) for each in specs if each is not None and each.origin is not None]
    if len(files) < len(specs):
        return None
    version = installed.version("torchvision")
    parts = [str(version), str(installed.version("torch")), sys.executable]
    parts += [f"{each} {each.stat().st_mtime_ns}" for each in files]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    with contextlib.suppress(DataError, OSError):  # without a cache it is tried again
        if (cache_dir() / "torchvision" / key).is_file():
            return None
    tried = subprocess.run(
        python("-c", _TRIED),
        env=isolated(),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if not tried.stdout.strip():
        return None
    if tried.returncode:
        reason = (tried.stderr.strip().splitlines() or [f"exit status {tried.returncode}"])[-1]
        of = f"torchvision {version or 'of an unknown version'}"
        return f"{of} does not fit torch {tried.stdout.split()[0]}: {reason}"
    with contextlib.suppress(DataError, OSError):
        marker = cache_dir() / "torchvision" / key
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    return None


def _of_python(folders: list[Path]) -> Iterator[Hidden]:
    for folder in folders:
        try:
            found = sorted(folder.iterdir())
        except OSError:
            continue
        for path in found:
            file = path if path.suffix == ".py" else path / "__init__.py"
            if path.stem in sys.stdlib_module_names and file.is_file():
                yield Hidden(path.stem, file.absolute())


def _of_packages(folders: list[str]) -> Iterator[Hidden]:
    for distribution, module in PACKAGES.items():
        spec = PathFinder.find_spec(module, folders)
        if spec is None or spec.origin is None:
            continue
        try:
            installed = metadata.distribution(distribution).locate_file(f"{module}/__init__.py")
        except metadata.PackageNotFoundError:
            continue
        found = Path(spec.origin)
        if Path(str(installed)).is_file() and not found.samefile(str(installed)):
            yield Hidden(module, found)
