"""The facts of a run that head its report: date, model, data, machine, versions, command, licences.

Folders of the machine of the run are left out of all of them.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

_FOLDERS = re.compile(
    r"(?<![\w:/.])(?:~|[A-Za-z]:)?[/\\](?:[^\s/\\'\"=,;:]+[/\\])*([^\s/\\'\"=,;:]+)"
)
"""An absolute path in a text; a URL, a task name and a relative path are none."""
_SHOWN = ("torch", "transformers", "trl")
"""Packages that the head names; the others are with the configuration."""


class Fact(NamedTuple):
    """One line of the head."""

    label: str
    text: str


def without_folders(value: Any) -> Any:
    """Return JSON with every absolute path in its texts cut to `PATH/` and its last part.

    Example:
        >>> without_folders({"root": "xbd=/home/me/eo/xBD", "n": 1})
        {'root': 'xbd=PATH/xBD', 'n': 1}
    """
    if isinstance(value, str):
        return _FOLDERS.sub(r"PATH/\1", value)
    if isinstance(value, Mapping):
        return {key: without_folders(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_folders(each) for each in value]
    return value


def head(
    resolved: Mapping[str, Any], environment: Mapping[str, Any], metrics: Mapping[str, Any]
) -> list[Fact]:
    """Return the facts of a run in the order of the page; those that are not known are left out."""
    config, made = resolved["config"], []
    if started := environment.get("started"):
        made.append(Fact("started", started.replace("T", " ").replace("+00:00", " UTC")))
    if took := metrics["seconds"]:
        parts = ", ".join(f"{name} {_duration(value)}" for name, value in took.items())
        made.append(Fact("took", f"{_duration(sum(took.values()))} ({parts})"))
    model = environment.get("model", {})
    millions = f", {model['parameters'] / 1e6:,.1f} M parameters" if model.get("parameters") else ""
    address = (config.get("served") or {}).get("base_url")
    at = f" at {address}" if address else ""
    made.append(Fact("model", f"{without_folders(config['model'])}{at}{millions}"))
    made.append(Fact("rewards", f"{config['rewards']}, seed {config['seed']}"))
    if machine := environment.get("machine"):
        used = f"{machine['gpus']} GPUs" if machine["gpus"] else "no GPU"
        made.append(Fact("machine", f"{machine['cores']} cores, {used}, {machine['system']}"))
    if environment:
        packages = environment["packages"]
        named = [f"{name} {packages[name]}" for name in _SHOWN if name in packages]
        own = (f"GeoVLM {environment['geovlm']}", f"Python {environment['python']}")
        made.append(Fact("versions", ", ".join([*own, *named])))
    return made


def command(environment: Mapping[str, Any]) -> str:
    """Return the line that starts the run again; empty if it is not known.

    An absolute path becomes `PATH/` and its last part, and a run folder `runs/` and its name.
    """
    words = list(environment.get("command", ()))
    for i, word in enumerate(words):
        before = words[i - 1] if i else ""
        short = without_folders(word)
        words[i] = short.replace("PATH/", "runs/") if before in ("--output", "-o") else short
    return f"geovlm {shlex.join(words)}" if words else ""


def licences(resolved: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return name, licence, homepage (empty if it is no web address), citation of each data set.

    Data sets whose plugin is not installed are left out.
    """
    from geovlm.plugins import registry

    known = registry.load().datasets
    return [
        {
            "name": name,
            "generated": name in resolved.get("generated", ()),
            "licence": known[name].licence,
            "homepage": _web(known[name].homepage),
            "citation": known[name].citation,
        }
        for name in resolved["data_roots"]
        if name in known
    ]


def _web(address: str) -> str:
    return address if re.match(r"https?://", address) else ""


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
