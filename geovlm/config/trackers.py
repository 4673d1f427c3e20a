"""The trackers of experiments that a run can report to, and the packages that they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import BeforeValidator, StringConstraints

from geovlm.config.options import near
from geovlm.errors import ConfigError

Name = Literal["trackio", "wandb", "tensorboard", "mlflow"]


class Package(NamedTuple):
    """The package of a tracker."""

    distributions: tuple[str, ...]
    """Names under which it may be installed."""
    floor: str
    """The oldest version whose calls are those of `geovlm.engine.tracking`."""
    install: str
    """Command that installs it."""


PACKAGES: Mapping[str, Package] = {
    "trackio": Package(("trackio",), "0.43", "pip install 'geovlm[track]'"),
    "wandb": Package(("wandb",), "0.31", "pip install 'wandb>=0.31'"),
    "tensorboard": Package(("tensorboard",), "2.19", "pip install 'tensorboard>=2.19'"),
    "mlflow": Package(("mlflow", "mlflow-skinny"), "3.0", "pip install 'mlflow>=3.0'"),
}


def _names(value: Any) -> Any:
    """Return the names in a text or list, each once.

    Raises:
        ValueError: one is not known; names a similar one.
    """
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple):
        return value
    known = get_args(Name)
    for name in value:
        if name not in known:
            hint = near(str(name), known) or f"known are {', '.join(known)}"
            raise ValueError(f"unknown tracker {name!r}, {hint}")
    return list(dict.fromkeys(value))


Trackers = Annotated[list[Name], BeforeValidator(_names)]
Project = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
"""A name that every tracker takes: letters, digits, `.`, `_` and `-`."""


def check_installed(names: Sequence[str]) -> None:
    """Refuse trackers whose package is absent or too old; imports none of them.

    Raises:
        ConfigError: names the tracker and the command that installs it.
    """
    from packaging.version import Version

    for name in names:
        package = PACKAGES[name]
        found = _installed(package)
        if found is None:
            raise ConfigError(f"track: {name} is not installed", hint=package.install)
        if Version(found) < Version(package.floor):
            raise ConfigError(
                f"track: {name} {found} is installed, {package.floor} or later is needed",
                hint=package.install,
            )


def _installed(package: Package) -> str | None:
    """Return the installed version of a package, or `None`."""
    for distribution in package.distributions:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return None
