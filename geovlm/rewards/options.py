"""Checks the `[reward_options]` of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geovlm.errors import ConfigError

_OPTIONS: dict[str, tuple[str, ...] | None] = {
    "encoder": None,
    "lexical": ("levenshtein", "jaccard", "rougeL"),
    "hbb": ("enclosing", "drop"),
}


def validate(options: Mapping[str, Any]) -> None:
    """Check the `[reward_options]` of a run.

    Raises:
        ConfigError: an unknown option or value; names it and what is allowed.
    """
    for key, value in options.items():
        if key not in _OPTIONS:
            raise ConfigError(
                f"unknown key reward_options.{key}", hint=f"there are {', '.join(sorted(_OPTIONS))}"
            )
        allowed = _OPTIONS[key]
        if not isinstance(value, str) or (allowed is not None and value not in allowed):
            raise ConfigError(
                f"reward_options.{key} is {value!r}",
                hint=f"one of {', '.join(allowed)}" if allowed else "a name or folder",
            )
