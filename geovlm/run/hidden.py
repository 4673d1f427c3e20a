"""Finds modules in folders of PYTHONPATH that hide modules of Python or installed packages."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path
from typing import NamedTuple

PACKAGES = {
    **{name: name for name in ("torch", "transformers", "trl", "accelerate", "datasets", "peft")},
    **{name: name for name in ("numpy", "scipy", "shapely", "rasterio", "pydantic", "jinja2")},
    **{"pillow": "PIL", "python-Levenshtein": "Levenshtein"},
    **{name: name for name in ("safetensors", "tokenizers", "nltk", "rapidfuzz", "psutil")},
}
"""Distribution -> its module, for the packages that the engine imports."""


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
