"""Checks before a run that its trackers can work: their packages, logins and stores."""

from __future__ import annotations

import os
import re
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from geovlm.errors import ConfigError

_REJECTED = re.compile(r"\b40[13]\b|unauthori|forbidden|api key", re.IGNORECASE)
"""Words of wandb about a key that it or its server does not take."""


def check(name: str) -> None:
    """Import the package of a tracker and look for its login; sends and writes nothing.

    Raises:
        ConfigError: the package cannot be imported, is switched off or has no login.
    """
    module = "torch.utils.tensorboard" if name == "tensorboard" else name
    try:
        package = import_module(module)
    # a package that is broken may raise anything while it is imported
    except Exception as error:
        raise ConfigError(
            f"track: {name} is installed and cannot be imported: {type(error).__name__}: {error}",
            hint=f"pip install --force-reinstall {name}",
        ) from error
    if name == "trackio":
        _check_trackio()
    if name == "wandb":
        _check_wandb(package)
    if name == "mlflow":
        _check_mlflow(package)


def _check_trackio() -> None:
    """Refuse a Space of the Hugging Face hub without an account."""
    from huggingface_hub import get_token

    space = os.environ.get("TRACKIO_SPACE_ID")
    if space and get_token() is None:
        raise ConfigError(
            f"track: trackio is to send to the Space {space!r} and has no login",
            hint="run 'hf auth login', or unset TRACKIO_SPACE_ID to stay on this machine",
        )


def _check_mlflow(package: Any) -> None:
    """Refuse stores that mlflow would refuse when the run has begun; makes none."""
    uri = str(package.get_tracking_uri())
    scheme = uri.partition("://")[0] if "://" in uri else uri.partition(":")[0]
    if scheme == "sqlite" and find_spec("sqlalchemy") is None:
        raise ConfigError(
            f"track: mlflow is to write to {uri} and has no SQLAlchemy",
            hint="pip install mlflow, or set MLFLOW_TRACKING_URI to a server",
        )
    allowed = os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1")
    if (scheme == "file" or uri == scheme) and not allowed:
        raise ConfigError(
            f"track: mlflow is to write to the folder {uri}, which it refuses",
            hint="set MLFLOW_TRACKING_URI=sqlite:///mlflow.db, or MLFLOW_ALLOW_FILE_STORE=true",
        )


def _check_wandb(package: Any) -> None:
    """Refuse wandb where it is switched off, or has no key for its server."""
    mode = package.setup().settings.mode
    if mode == "disabled":
        raise ConfigError(
            "track: wandb is switched off by WANDB_MODE or its settings",
            hint="set WANDB_MODE to online or offline, or leave wandb out",
        )
    if mode != "online":
        return
    hint = "run 'wandb login', or set WANDB_MODE=offline"
    try:
        found = package.login(prompt=False)
    except package.Error as error:  # the key is verified with the server
        if not _REJECTED.search(str(error)):
            return  # no network, or no answer: the tracker tries again while the run goes on
        raise ConfigError(f"track: the login of wandb is refused: {error}", hint=hint) from error
    if not found:
        raise ConfigError("track: wandb has no login", hint=hint)
