"""Discovers plugins: one record each; a bad plugin is a record with a reason, never a crash.

Order: the core's own declarations, then entry points of group `geovlm` sorted by name. The
requirements of a plugin are read from its metadata before its code is imported.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pluggy

from geovlm import __version__, hookspecs
from geovlm.api import DatasetSpec, MetricSpec, RewardSpec, TaskSetSpec, TaskSpec
from geovlm.errors import ConfigError
from geovlm.plugins import builtin, declarations, installed
from geovlm.plugins.declarations import HOOKS, PLUGIN_NAME, DeclarationError, Spec
from geovlm.plugins.guard import guarded, stdout_to_stderr
from geovlm.plugins.installed import GROUP, Plugin

CORE = "builtin"
"""Name of the core in the list of plugins."""
DISABLE_VARIABLE = "GEOVLM_DISABLE_PLUGINS"
"""Environment variable: names of plugins to disable, separated by commas; `*` for all."""
DEBUG_VARIABLE = "GEOVLM_DEBUG"
"""Environment variable: if set, the first error of a plugin is raised."""
SLOW_SECONDS = 0.1
"""`geovlm plugins list` names imports and hooks that take longer, in seconds."""

Status = Literal["active", "disabled", "incompatible", "broken"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginRecord:
    """One installed plugin and its status."""

    name: str
    distribution: str
    version: str
    status: Status
    reason: str = ""
    """Reason why it is not active; one line."""
    traceback: str = ""
    seconds: float = 0.0
    """Duration of the import."""
    notes: tuple[str, ...] = ()
    """Oddities of a plugin that works, such as a slow import."""
    requires: tuple[str, ...] = ()
    """Its requirements, as its metadata states them."""
    module: str = ""
    """Value of the entry point: `module` or `module:attribute`."""
    hooks: tuple[str, ...] = ()
    """The hooks that it implements."""
    file: Path | None = None
    """The description of annotations that it is made of; `None` for an installed plugin."""

    @property
    def title(self) -> str:
        """`plugin 'x' (dist 1.0)`, or the file of a description."""
        if self.file is not None:
            return f"the description {self.file}"
        return f"plugin {self.name!r} ({self.distribution} {self.version})"

    def describe(self) -> str:
        """Return `plugin 'x' (dist 1.0) is broken: reason`."""
        because = f": {self.reason}" if self.reason else ""
        return f"{self.title} is {self.status}{because}"


@dataclass(frozen=True, kw_only=True)
class PluginSet:
    """Everything that the active plugins declare."""

    manager: pluggy.PluginManager
    plugins: tuple[PluginRecord, ...]
    """The records of all plugins, whatever their status, the core's own first."""
    datasets: Mapping[str, DatasetSpec]
    tasks: Mapping[str, TaskSpec]
    rewards: Mapping[str, RewardSpec]
    metrics: Mapping[str, MetricSpec]
    task_sets: Mapping[str, TaskSetSpec]
    warnings: tuple[str, ...]
    """One line per bad plugin or unreadable distribution, per plugin that printed or changed the
    process, and per disabled name that no plugin has."""


@dataclass(slots=True)
class _Loader:
    manager: pluggy.PluginManager
    debug: bool
    found: dict[str, dict[str, Any]] = field(default_factory=lambda: {hook: {} for hook in HOOKS})
    warnings: list[str] = field(default_factory=list)

    def declare(self, name: str, plugin: object) -> tuple[str, ...]:
        """Register one plugin and keep its declarations; after an error, nothing of it is kept."""
        try:
            self.manager.register(plugin, name=name)
            callers = self.manager.get_hookcallers(plugin) or []
            for caller in callers:
                if not caller.has_spec() and not _is_optional(caller, name):
                    near = declarations.near_hook(caller.name)
                    message = f"unknown hook {caller.name!r}{near}"
                    raise pluggy.PluginValidationError(plugin, message)
            hooks = tuple(caller.name for caller in callers)
            if not hooks:
                raise DeclarationError(
                    "it implements no hook; mark its functions with @geovlm.hookimpl"
                )
            own = {hook: self._collect(hook, name) for hook in HOOKS if hook in hooks}
        except BaseException:
            if self.manager.has_plugin(name):
                self.manager.unregister(name=name)
            raise
        for hook, specs in own.items():
            self.found[hook].update(specs)
        return hooks

    def _collect(self, hook: str, name: str) -> dict[str, Spec]:
        results = only(self.manager, name, hook)()
        specs: dict[str, Spec] = {}
        for spec in declarations.read(results, hook=hook, plugin=name, core=name == CORE):
            if spec.name in specs or spec.name in self.found[hook]:
                raise DeclarationError(f"{hook} declares {spec.name!r} twice")
            specs[spec.name] = spec
        return specs

    def load(self, plugin: Plugin, *, disabled: frozenset[str], taken: set[str]) -> PluginRecord:
        """Load one plugin; an error becomes its record."""
        entry, metadata = plugin
        record = PluginRecord(
            name=entry.name,
            distribution=metadata.distribution,
            version=metadata.version,
            status="active",
            requires=metadata.requires,
            module=entry.value,
        )
        if entry.name in disabled or "*" in disabled:
            return replace(record, status="disabled", reason="switched off by the user")
        started = time.perf_counter()
        try:
            if not PLUGIN_NAME.fullmatch(entry.name):
                raise DeclarationError(
                    f"{entry.name!r} is not a plugin name of the form {PLUGIN_NAME.pattern}"
                )
            if entry.name in taken:
                raise DeclarationError(f"the name {entry.name!r} is taken by another distribution")
            unmet = installed.incompatible(record.requires)
            if unmet:
                return self._bad(replace(record, status="incompatible", reason=unmet))
            with guarded() as traces:
                started = time.perf_counter()
                module = entry.load()
                imported = time.perf_counter()
                hooks = self.declare(entry.name, module)
                declared = time.perf_counter()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit, and the outcomes of test frameworks
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
        notes = _slow("import", imported - started) + _slow("hooks", declared - imported)
        effects = []
        if traces.printed:
            notes += ("prints when it is imported",)
            effects.append(f"printed when it was imported: {traces.printed[:200]}")
        if traces.changed:
            names = ", ".join(traces.changed)
            notes += (f"changes the process when it is imported: {names}",)
            effects.append(f"changed {names} when it was imported; this was undone")
        if effects:
            self.warnings.append(f"plugin {entry.name!r} {'; '.join(effects)}")
        return replace(record, seconds=imported - started, notes=notes, hooks=hooks)

    def load_file(self, file: Path, *, taken: Mapping[str, str]) -> PluginRecord:
        """Load a description of annotations; an error becomes its record.

        `taken` holds the names of the plugins before it, each with what has it.
        """
        from geovlm.plugins.annotations import declaring, description

        record = PluginRecord(
            name=file.stem,
            distribution=str(file),
            version="",
            status="active",
            module=str(file),
            file=file,
        )
        try:
            own = description.read(file)
            record = replace(record, name=own.name)
            if own.name in taken:
                owner = taken[own.name]
                raise DeclarationError(f"the name {own.name!r} is taken by {owner}; change 'name'")
            hooks = self.declare(own.name, declaring.Declared(own))
        except (ConfigError, DeclarationError) as error:
            reason = str(error.args[0]).removeprefix(f"{file}: ")
            return self._bad(replace(record, status="broken", reason=reason))
        return replace(record, hooks=hooks)

    def _bad(self, record: PluginRecord) -> PluginRecord:
        self.warnings.append(record.describe())
        return record


def discover(*, disabled: Iterable[str] = (), files: Iterable[Path] = ()) -> PluginSet:
    """Load every installed plugin, isolating the bad ones; `*` disables all.

    `files` are descriptions of annotations; each is a plugin of the name that it gives.
    """
    off = frozenset(disabled)
    manager = pluggy.PluginManager("geovlm")
    manager.add_hookspecs(hookspecs)
    loader = _Loader(manager=manager, debug=bool(os.environ.get(DEBUG_VARIABLE)))
    records = [
        PluginRecord(
            name=CORE,
            distribution="geovlm",
            version=__version__,
            status="active",
            hooks=loader.declare(CORE, builtin),
            module=builtin.__name__,
        )
    ]
    taken = {CORE}
    present = installed.find(group=GROUP)
    loader.warnings += present.problems
    for plugin in present.plugins:
        records.append(loader.load(plugin, disabled=off, taken=taken))
        taken.add(plugin.entry.name)
    titles = {record.name: record.title for record in reversed(records)}
    for file in files:
        record = loader.load_file(file, taken=titles)
        records.append(record)
        titles.setdefault(record.name, record.title)
    for name in sorted(off - titles.keys() - {"*"}):
        loader.warnings.append(f"cannot disable plugin {name!r}: no such plugin is installed")
    found = loader.found
    return PluginSet(
        manager=manager,
        plugins=tuple(records),
        datasets=found["geovlm_datasets"],
        tasks=found["geovlm_tasks"],
        rewards=found["geovlm_rewards"],
        metrics=found["geovlm_metrics"],
        task_sets=found["geovlm_task_sets"],
        warnings=tuple(loader.warnings),
    )


def only(manager: pluggy.PluginManager, name: str, hook: str) -> pluggy.HookCaller:
    """Return a caller of `hook` that calls one plugin only."""
    others = [plugin for other, plugin in manager.list_name_plugin() if other != name]
    return manager.subset_hook_caller(hook, [plugin for plugin in others if plugin is not None])


class HookResult(NamedTuple):
    """Return values of one hook of one active plugin."""

    results: list[Any]
    """Empty if the hook failed."""
    problem: str
    """The error in one line; empty if there was none."""


def call(
    manager: pluggy.PluginManager, name: str, hook: str, *, wanted: type, **arguments: Any
) -> HookResult:
    """Call a hook of one active plugin, at any time after the plugins were loaded.

    The hook yields objects of type `wanted`, or only its first result counts. Its output goes to
    standard error. With `GEOVLM_DEBUG` its error is raised.
    """
    try:
        with stdout_to_stderr():
            found = only(manager, name, hook)(**arguments)
            many = found if isinstance(found, list) else [[] if found is None else [found]]
            results = [each for one in many for each in one]
        wrong = [each for each in results if not isinstance(each, wanted)]
        if wrong:
            raise TypeError(f"{wanted.__name__} objects are wanted, got {wrong[0]!r:.80}")
        return HookResult(results, "")
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        return HookResult([], f"{hook} failed: {_one_line(error)}")


def disabled_by_environment() -> frozenset[str]:
    """Return the names in `GEOVLM_DISABLE_PLUGINS`."""
    named = os.environ.get(DISABLE_VARIABLE, "").split(",")
    return frozenset(name.strip() for name in named if name.strip())


def _is_optional(caller: pluggy.HookCaller, plugin: str) -> bool:
    """True if a plugin marks a hook as one that only other versions of GeoVLM have."""
    own = [impl for impl in caller.get_hookimpls() if impl.plugin_name == plugin]
    return all(impl.optionalhook for impl in own)


def _slow(what: str, seconds: float) -> tuple[str, ...]:
    return (f"slow {what}: {1000 * seconds:.0f} ms",) if seconds > SLOW_SECONDS else ()


def _one_line(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:  # of an exception's own __str__
        text = "its message cannot be shown"
    if isinstance(error, DeclarationError):
        return text[:300]
    return f"{type(error).__name__}: {text}"[:300]
