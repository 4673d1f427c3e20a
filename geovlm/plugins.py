"""Discover plugins and keep the bad ones from hurting anybody: one record each, never a crash.

Order: the core's own declarations, then entry points of group `geovlm` sorted by name. What a
plugin requires of GeoVLM is read from its metadata before its code is imported.
"""

from __future__ import annotations

import io
import os
import re
import time
import traceback
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Any, Literal

import pluggy

from geovlm import __version__, builtin, hookspecs
from geovlm.api import DatasetSpec, MetricSpec, RewardSpec, TaskSpec

GROUP = "geovlm"
CORE = "builtin"
"""Name under which the core's own declarations are listed."""
DISABLE_VARIABLE = "GEOVLM_DISABLE_PLUGINS"
"""Environment variable: names of plugins to do without, by commas; `*` for all."""
DEBUG_VARIABLE = "GEOVLM_DEBUG"
"""Environment variable: if set, the first error of a plugin is raised."""
SLOW_SECONDS = 0.1
"""An import that takes longer is named in `geovlm plugins list`."""

Status = Literal["active", "disabled", "incompatible", "broken"]
Spec = DatasetSpec | TaskSpec | RewardSpec | MetricSpec

_HOOKS: dict[str, type[Any]] = {
    "geovlm_datasets": DatasetSpec,
    "geovlm_tasks": TaskSpec,
    "geovlm_rewards": RewardSpec,
    "geovlm_metrics": MetricSpec,
}
_NAME = re.compile(r"[a-z][a-z0-9_]*(/[a-z0-9_]+)*")
_PLUGIN_NAME = re.compile(r"[a-z][a-z0-9_]*")
_REQUIRES_CORE = re.compile(r"\s*geovlm\s*([\[<>=!~;(@ ]|$)", re.IGNORECASE)
_REWARD_SETS = {"paper", "robust"}


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginRecord:
    """One installed plugin and what became of it."""

    name: str
    distribution: str
    version: str
    status: Status
    reason: str = ""
    """Why it is not active; one line."""
    traceback: str = ""
    seconds: float = 0.0
    """Duration of the import."""
    notes: tuple[str, ...] = ()
    """What is odd about it although it works, such as a slow import."""
    requires: tuple[str, ...] = ()
    """Its requirements, as its metadata states them."""
    module: str = ""
    """What the entry point names."""
    hooks: tuple[str, ...] = ()
    """The hooks that it implements."""

    def describe(self) -> str:
        """Return `plugin 'x' (dist 1.0) is broken: reason`."""
        because = f": {self.reason}" if self.reason else ""
        return (
            f"plugin {self.name!r} ({self.distribution} {self.version}) is {self.status}{because}"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginSet:
    """Everything that the installed plugins declare."""

    manager: pluggy.PluginManager
    records: tuple[PluginRecord, ...]
    datasets: dict[str, DatasetSpec]
    tasks: dict[str, TaskSpec]
    rewards: dict[str, RewardSpec]
    metrics: dict[str, MetricSpec]
    warnings: tuple[str, ...]
    """One line per bad plugin, per plugin that printed, and per disabled name nobody has."""


class _DeclarationError(Exception):
    """A declaration that the contract does not allow."""


@dataclass(slots=True)
class _Loader:
    manager: pluggy.PluginManager
    debug: bool
    found: dict[str, dict[str, Any]] = field(default_factory=lambda: {hook: {} for hook in _HOOKS})
    warnings: list[str] = field(default_factory=list)

    def declare(self, name: str, plugin: object) -> tuple[str, ...]:
        """Register one plugin and keep what it declares; all or nothing."""
        try:
            self.manager.register(plugin, name=name)
            callers = self.manager.get_hookcallers(plugin) or []
            for caller in callers:
                if not caller.has_spec():
                    raise pluggy.PluginValidationError(
                        plugin, f"unknown hook {caller.name!r}{_near_hook(caller.name)}"
                    )
            hooks = tuple(caller.name for caller in callers)
            if not hooks:
                raise _DeclarationError(
                    "it implements no hook; mark its functions with @geovlm.hookimpl"
                )
            own = {hook: self._collect(hook, name) for hook in _HOOKS if hook in hooks}
        except BaseException:
            if self.manager.has_plugin(name):
                self.manager.unregister(name=name)
            raise
        for hook, specs in own.items():
            self.found[hook].update(specs)
        return hooks

    def _collect(self, hook: str, name: str) -> dict[str, Spec]:
        specs: dict[str, Spec] = {}
        for result in only(self.manager, name, hook)():
            if not isinstance(result, Iterable) or isinstance(result, str | bytes):
                raise TypeError(
                    f"{hook} must yield {_HOOKS[hook].__name__} objects, "
                    f"returned {type(result).__name__}"
                )
            for spec in result:
                _check(spec, hook=hook, plugin=name)
                if spec.name in specs or spec.name in self.found[hook]:
                    raise _DeclarationError(f"{hook} declares {spec.name!r} twice")
                specs[spec.name] = spec
        return specs

    def load(self, entry: EntryPoint, *, disabled: frozenset[str], taken: set[str]) -> PluginRecord:
        """Load one entry point; what goes wrong becomes its record."""
        record = _record(entry)
        if entry.name in disabled or "*" in disabled:
            return replace(record, status="disabled", reason="switched off by the user")
        printed = io.StringIO()
        started = time.perf_counter()
        try:
            if not _PLUGIN_NAME.fullmatch(entry.name):
                raise _DeclarationError(f"{entry.name!r} is no plugin name: {_PLUGIN_NAME.pattern}")
            if entry.name in taken:
                raise _DeclarationError(f"the name {entry.name!r} is taken by another distribution")
            unmet = _incompatible(record.requires)
            if unmet:
                return self._bad(replace(record, status="incompatible", reason=unmet))
            with redirect_stdout(printed):
                started = time.perf_counter()
                plugin = entry.load()
                seconds = time.perf_counter() - started
                hooks = self.declare(entry.name, plugin)
        except (Exception, SystemExit) as error:
            if self.debug:
                raise
            broken = replace(
                record,
                status="broken",
                reason=_one_line(error),
                traceback="".join(traceback.format_exception(error)),
                seconds=time.perf_counter() - started,
            )
            return self._bad(broken)
        notes = []
        if seconds > SLOW_SECONDS:
            notes.append(f"slow import: {1000 * seconds:.0f} ms")
        if printed.getvalue().strip():
            notes.append("prints when it is imported")
            text = " ".join(printed.getvalue().split())[:200]
            self.warnings.append(f"plugin {entry.name!r} printed when it was imported: {text}")
        return replace(record, seconds=seconds, notes=tuple(notes), hooks=hooks)

    def _bad(self, record: PluginRecord) -> PluginRecord:
        self.warnings.append(record.describe())
        return record


def discover(*, disabled: Iterable[str] = ()) -> PluginSet:
    """Load every installed plugin, isolating the bad ones.

    Args:
        disabled: names to do without; `*` for all.
    """
    off = frozenset(disabled)
    manager = pluggy.PluginManager("geovlm")
    manager.add_hookspecs(hookspecs)
    loader = _Loader(manager=manager, debug=bool(os.environ.get(DEBUG_VARIABLE)))
    hooks = loader.declare(CORE, builtin)
    records = [
        PluginRecord(
            name=CORE,
            distribution="geovlm",
            version=__version__,
            status="active",
            hooks=hooks,
            module=builtin.__name__,
        )
    ]
    taken = {CORE}
    for entry in _entries():
        records.append(loader.load(entry, disabled=off, taken=taken))
        taken.add(entry.name)
    for name in sorted(off - taken - {"*"}):
        loader.warnings.append(f"plugin {name!r} is to be disabled, but there is no such plugin")
    found = loader.found
    return PluginSet(
        manager=manager,
        records=tuple(records),
        datasets=found["geovlm_datasets"],
        tasks=found["geovlm_tasks"],
        rewards=found["geovlm_rewards"],
        metrics=found["geovlm_metrics"],
        warnings=tuple(loader.warnings),
    )


def _entries() -> list[EntryPoint]:
    """Entry points sorted by name; one distribution seen twice on the path counts once."""
    unique = {
        (entry.name, entry.value, entry.dist.name if entry.dist else ""): entry
        for entry in entry_points(group=GROUP)
    }
    return [unique[key] for key in sorted(unique)]


def only(manager: pluggy.PluginManager, name: str, hook: str) -> pluggy.HookCaller:
    """Return a caller of `hook` that asks one plugin only."""
    others = [plugin for other, plugin in manager.list_name_plugin() if other != name]
    return manager.subset_hook_caller(hook, [plugin for plugin in others if plugin is not None])


def disabled_by_environment() -> frozenset[str]:
    """Return the names in `GEOVLM_DISABLE_PLUGINS`."""
    named = os.environ.get(DISABLE_VARIABLE, "").split(",")
    return frozenset(name.strip() for name in named if name.strip())


def _record(entry: EntryPoint) -> PluginRecord:
    dist: Distribution | None = entry.dist
    return PluginRecord(
        name=entry.name,
        distribution=dist.metadata["Name"] if dist else "unknown",
        version=dist.version if dist else "unknown",
        status="active",
        requires=tuple(dist.requires or ()) if dist else (),
        module=entry.value,
    )


def _incompatible(requires: Iterable[str]) -> str:
    """Why this GeoVLM does not meet a plugin's requirements; empty if it does."""
    lines = [line for line in requires if _REQUIRES_CORE.match(line)]
    if not lines:
        return ""
    from packaging.requirements import Requirement  # 15 ms that a core without plugins can save

    for requirement in map(Requirement, lines):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if not requirement.specifier.contains(__version__, prereleases=True):
            return f"needs geovlm{requirement.specifier}, this is geovlm {__version__}"
    return ""


def _check(spec: Any, *, hook: str, plugin: str) -> None:
    wanted = _HOOKS[hook]
    if not isinstance(spec, wanted):
        raise TypeError(f"{hook} must return {wanted.__name__} objects, got {spec!r:.80}")
    if not isinstance(spec.name, str) or not _NAME.fullmatch(spec.name):
        raise _DeclarationError(f"{hook}: {spec.name!r} is no name of the form {_NAME.pattern}")
    if plugin != CORE and spec.name.partition("/")[0] != plugin:
        raise _DeclarationError(
            f"{hook}: the name {spec.name!r} must be {plugin!r} or begin with '{plugin}/'"
        )
    if isinstance(spec, DatasetSpec) and not (spec.splits and spec.folders):
        raise _DeclarationError(f"data set {spec.name!r} names no splits or no folders")
    if isinstance(spec, RewardSpec) and not spec.low < spec.high:
        raise _DeclarationError(f"reward {spec.name!r}: low {spec.low} is not below {spec.high}")
    if isinstance(spec, TaskSpec):
        if set(spec.rewards) != _REWARD_SETS:
            raise _DeclarationError(
                f"task {spec.name!r}: rewards must have the sets 'paper' and 'robust', "
                f"has {sorted(spec.rewards)}"
            )
        if not spec.metrics:
            raise _DeclarationError(f"task {spec.name!r} names no metrics")


def _near_hook(name: str) -> str:
    from difflib import get_close_matches

    known = [hook for hook in dir(hookspecs) if hook.startswith("geovlm_")]
    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, _DeclarationError):
        return text[:300]
    return f"{type(error).__name__}: {text}"[:300]
