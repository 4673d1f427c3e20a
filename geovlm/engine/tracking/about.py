"""Describes a run to its trackers: name and group, configuration, versions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from geovlm.run.files import read_json
from geovlm.run.folder import RunDir

HIDDEN = "(not shown)"
_SECRET = re.compile(r"(password|passwd|secret|credential|api_?key|(^|_)token)s?$", re.IGNORECASE)
_NO_SECRETS = frozenset({"eos_token", "pad_token", "bos_token", "mask_token", "image_token"})
_ACCOUNT = re.compile(r"(?<=://)[^/@\s]+@")
_LONGEST_GROUP = 100


class About(NamedTuple):
    """A run, as its trackers show it."""

    folder: Path
    project: str
    name: str
    """Name of the run folder."""
    group: str
    """The tasks: runs on the same tasks can be compared."""
    facts: dict[str, Any]
    """Configuration and versions, without secrets and without environment variables."""


def of(run: RunDir) -> About:
    """Return what trackers are told about a run, from its `resolved.json` and `environment.json`.

    The command line is left out: it may hold a secret in any of its words.
    """
    resolved = run.read_resolved()
    made = read_json(run.environment) if run.environment.is_file() else {}
    config = dict(resolved["config"])
    folders = resolved["stage_folders"]
    config["stages"] = dict(zip(folders, config["stages"], strict=True))
    facts = {
        **config,
        "task_names": resolved["task_names"],
        "samples": resolved["samples"],
        "generated": resolved.get("generated", []),
        "world_sizes": resolved["world_sizes"],
        "versions": {
            "geovlm": made.get("geovlm"),
            "python": made.get("python"),
            **made.get("packages", {}),
            **{each["distribution"]: each["version"] for each in made.get("plugins", [])},
        },
        "machine": made.get("machine", {}),
        "parameters": made.get("model", {}).get("parameters"),
    }
    return About(
        folder=run.path,
        project=config["track_project"],
        name=run.path.name,
        group="_".join(config["tasks"]).replace("/", "-")[:_LONGEST_GROUP],
        facts=without_secrets(facts),
    )


def without_secrets(value: Any, key: str = "") -> Any:
    """Return a JSON value without what keys call a secret, and without accounts in addresses."""
    if isinstance(value, Mapping):
        return {name: without_secrets(each, str(name)) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(each) for each in value]
    if isinstance(value, str):
        if value and key not in _NO_SECRETS and _SECRET.search(key):
            return HIDDEN
        return _ACCOUNT.sub("", value)
    return value
