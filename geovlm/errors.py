"""Errors for users: one line that names what is wrong, one hint for the fix.

The command line prints a `GeoVLMError` without a traceback and exits with 2. `RunFailedError`
reports work that was possible and failed: exit 1. Every other exception is a bug of GeoVLM or of a
plugin and keeps its traceback.
"""

from __future__ import annotations

from pathlib import Path


class GeoVLMError(Exception):
    """The request cannot be done; `hint` gives the fix."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = str(self.args[0])
        return f"{message} ({self.hint})" if self.hint else message


class ConfigError(GeoVLMError):
    """A configuration file, preset or `--set` that cannot be used; names the path of the key."""


class UnknownNameError(GeoVLMError):
    """A name that no plugin registers; the hint holds the nearest ones."""


class PluginUnavailableError(GeoVLMError):
    """The plugin of a requested task is broken, incompatible or disabled."""


class DatasetNotFoundError(GeoVLMError):
    """The folder or file that a data set needs does not exist."""

    def __init__(self, dataset: str, path: Path, *, hint: str = "") -> None:
        super().__init__(f"data set {dataset!r}: {path} does not exist", hint=hint)
        self.dataset = dataset
        self.path = path


class DataError(GeoVLMError):
    """A record or file of a data set that cannot be read; names the file."""


class RewardError(GeoVLMError):
    """A reward raised or returned a value outside its range; names reward, task and sample."""

    exit_code = 1


class MetricError(GeoVLMError):
    """A metric raised, or gave something else than numbers; names the metric."""

    exit_code = 1


class RunFailedError(GeoVLMError):
    """A stage that was started and did not finish; names the stage and its log."""

    exit_code = 1


class StoppedError(GeoVLMError):
    """The work stopped on request and can be resumed: not a failure, hence exit code 0."""

    def __init__(self, message: str, *, hint: str = "", exit_code: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code
