"""Plugins: found by entry point, checked before import, loaded one by one, kept apart.

A plugin that is broken, incompatible or disabled becomes a record with the reason; it stops nobody
until a run asks for one of its tasks. pluggy's own entry-point loader is not used: it dies on the
first bad plugin.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import time
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint, entry_points
from types import ModuleType
from typing import Any, Literal

import pluggy

from geovlm import __version__, hookspecs
from geovlm.api import DatasetSpec, MetricSpec, RewardSpec, TaskSpec

GROUP = "geovlm"
BUILTIN = "builtin"
SLOW_SECONDS = 0.1
"""An import that takes longer is named in `geovlm plugins list`."""

Status = Literal["active", "disabled", "incompatible", "broken"]

_NAME = re.compile(r"[a-z][a-z0-9_]*(/[a-z0-9_]+)*")
_HOOKS: dict[str, type] = {
    "geovlm_datasets": DatasetSpec,
    "geovlm_tasks": TaskSpec,
    "geovlm_rewards": RewardSpec,
    "geovlm_metrics": MetricSpec,
}


@dataclass(kw_only=True, slots=True)
class PluginRecord:
    """One installed plugin, whatever became of it."""

    name: str
    distribution: str
    version: str
    status: Status = "active"
    reason: str = ""
    """One line: why it is not active."""
    traceback: str = ""
    """The whole story, for `geovlm plugins doctor`."""
    requires: str = ""
    """The range of geovlm versions that it declares."""
    seconds: float = 0.0
    """Time of its import."""
    printed: str = ""
    """What it wrote to standard output while it was imported."""
    specs: dict[str, list[Any]] = field(default_factory=dict)
    """Hook -> what it returned."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginSet:
    """All plugins of this process."""

    records: tuple[PluginRecord, ...]
    manager: pluggy.PluginManager


def discover(*, disabled: Iterable[str] = (), debug: bool = False) -> PluginSet:
    """Load every installed plugin and ask for its declarations.

    Args:
        disabled: names that are not loaded; `*` stands for all.
        debug: raise what a plugin raises instead of recording it.
    """
    from geovlm import builtin

    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    off = set(disabled)
    core = PluginRecord(name=BUILTIN, distribution="geovlm", version=__version__)
    manager.register(builtin, name=BUILTIN)
    records = [core]
    _collect(core, manager, debug=debug)
    seen: set[str] = set()
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        if entry.name in seen:
            continue  # the same distribution may be listed twice, installed and editable
        seen.add(entry.name)
        record = _describe(entry)
        records.append(record)
        if "*" in off or entry.name in off:
            record.status, record.reason = "disabled", "switched off"
        elif not _compatible(record, entry.dist):
            record.status = "incompatible"
        elif _load(record, entry, manager, debug=debug):
            _collect(record, manager, debug=debug)
    return PluginSet(records=tuple(records), manager=manager)


def _describe(entry: EntryPoint) -> PluginRecord:
    dist = entry.dist
    name = dist.metadata["Name"] if dist is not None else "?"
    version = dist.version if dist is not None else "?"
    return PluginRecord(name=entry.name, distribution=name, version=version)


def _compatible(record: PluginRecord, dist: Distribution | None) -> bool:
    """Read the plugin's own `Requires-Dist: geovlm…`, before any of its code runs."""
    from packaging.requirements import InvalidRequirement, Requirement  # start-up time

    for text in (dist.requires if dist is not None else None) or ():
        if not re.match(r"geovlm\s*(?:[<>=!~;(\[@]|$)", text, re.IGNORECASE):
            continue
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            record.reason = f"its requirement {text!r} is malformed: {error}"
            return False
        record.requires = str(requirement.specifier)
        if not requirement.specifier.contains(__version__, prereleases=True):
            record.reason = f"needs geovlm{requirement.specifier}, this is geovlm {__version__}"
            return False
    return True


def _load(
    record: PluginRecord, entry: EntryPoint, manager: pluggy.PluginManager, *, debug: bool
) -> bool:
    """Import and register one plugin; False, with the reason, if that fails."""
    printed = io.StringIO()
    started = time.perf_counter()
    try:
        with contextlib.redirect_stdout(printed):
            module = entry.load()
        if _NAME.fullmatch(entry.name) is None or "/" in entry.name:
            raise ValueError(f"entry point name {entry.name!r} is not a lower-case word")
        unknown = _unknown_hooks(module)
        if unknown:
            raise pluggy.PluginValidationError(module, f"unknown hook {unknown[0]!r}")
        manager.register(module, name=entry.name)
    except Exception as error:
        if debug:
            raise
        _break(record, error)
    record.seconds = time.perf_counter() - started
    record.printed = printed.getvalue()
    if record.printed:
        sys.stderr.write(record.printed)  # standard output is data
    return record.status == "active"


def _unknown_hooks(module: ModuleType) -> list[str]:
    """Return functions marked as hook implementations that no specification knows."""
    return [
        name
        for name, value in vars(module).items()
        if callable(value) and hasattr(value, "geovlm_impl") and not hasattr(hookspecs, name)
    ]


def _collect(record: PluginRecord, manager: pluggy.PluginManager, *, debug: bool) -> None:
    """Ask one plugin for its declarations; anything wrong breaks it, and only it."""
    own = manager.get_plugin(record.name)
    others = [plugin for plugin in manager.get_plugins() if plugin is not own]
    try:
        for hook, expected in _HOOKS.items():
            found: list[Any] = []
            for result in manager.subset_hook_caller(hook, others)():
                found.extend(_checked(record, hook, result, expected))
            record.specs[hook] = found
    except Exception as error:
        if debug:
            raise
        _break(record, error)
        record.specs = {}
        manager.unregister(name=record.name)


def _checked(record: PluginRecord, hook: str, result: Any, expected: type) -> list[Any]:
    specs = list(result)
    names: set[str] = set()
    for spec in specs:
        if not isinstance(spec, expected):
            raise TypeError(f"{hook} must return {expected.__name__} objects, got {spec!r}")
        prefixed = spec.name == record.name or spec.name.startswith(f"{record.name}/")
        if _NAME.fullmatch(spec.name) is None or (record.name != BUILTIN and not prefixed):
            raise ValueError(
                f"{hook} names {spec.name!r}; names of this plugin begin with {record.name!r}"
            )
        if spec.name in names:
            raise ValueError(f"{hook} names {spec.name!r} twice")
        names.add(spec.name)
        if isinstance(spec, RewardSpec) and not spec.low < spec.high:
            raise ValueError(f"reward {spec.name!r} has low {spec.low} and high {spec.high}")
        if isinstance(spec, DatasetSpec) and not spec.splits:
            raise ValueError(f"data set {spec.name!r} has no splits")
    return specs


def _break(record: PluginRecord, error: Exception) -> None:
    record.status = "broken"
    message = str(error).splitlines()
    record.reason = f"{type(error).__name__}: {message[-1] if message else ''}".rstrip(": ")
    record.traceback = "".join(traceback.format_exception(error))
