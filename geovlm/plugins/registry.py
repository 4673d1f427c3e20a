"""Finds the specs of names: of installed plugins, with the nearest name for a wrong one."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pluggy

from geovlm.api import (
    DatasetSpec,
    MetricSpec,
    ModelProfile,
    RewardSpec,
    SetEntry,
    StageInfo,
    TaskSetSpec,
    TaskSpec,
)
from geovlm.errors import PluginUnavailableError, UnknownNameError
from geovlm.plugins import families, profiles
from geovlm.plugins.described import files_of_user
from geovlm.plugins.discover import (
    CORE,
    DEBUG_VARIABLE,
    PluginRecord,
    PluginSet,
    call,
    disabled_by_environment,
    discover,
    only,
)
from geovlm.plugins.guard import stdout_to_stderr
from geovlm.plugins.references import BUGS, resolve

T = TypeVar("T")


class Selected(NamedTuple):
    """A task that a user chose, by its own name, by a prefix or by a set."""

    spec: TaskSpec
    explicit: bool


@dataclass(frozen=True, kw_only=True)
class Registry(PluginSet):
    """Everything that the active plugins declare, by name."""

    unusable: Mapping[str, str]
    """Task -> reason why it cannot be used: a data set, reward or metric that nobody provides."""

    def plugin(self, name: str) -> PluginRecord:
        """Return the record of a plugin, whatever its status."""
        records = {record.name: record for record in reversed(self.plugins)}
        if name not in records:
            raise UnknownNameError(_unknown("plugin", name, records))
        return records[name]

    def task(self, name: str) -> TaskSpec:
        """Return the task.

        Raises:
            UnknownNameError: there is no task of this name; names the nearest ones.
            PluginUnavailableError: the plugin of the task is not active, or the task names
                something that nobody provides.
        """
        if name in self.unusable:
            raise PluginUnavailableError(f"task {name!r} is not available: {self.unusable[name]}")
        return self._get("task", name, self.tasks)

    def dataset(self, name: str) -> DatasetSpec:
        """Return the data set; errors as for `task`."""
        return self._get("data set", name, self.datasets)

    def reward(self, name: str) -> RewardSpec:
        """Return the reward; errors as for `task`."""
        return self._get("reward", name, self.rewards)

    def metric(self, name: str) -> MetricSpec:
        """Return the metric; errors as for `task`."""
        return self._get("metric", name, self.metrics)

    def task_set(self, name: str) -> TaskSetSpec:
        """Return the set of tasks; errors as for `task`."""
        return self._get("set of tasks", name, self.task_sets)

    def entries(self, name: str) -> tuple[SetEntry, ...]:
        """Return the entries of a set of tasks, those of missing tasks too.

        Raises:
            UnknownNameError, PluginUnavailableError: as `task`; or its function fails.
        """
        make = resolve(self.task_set(name).entries)
        try:
            with stdout_to_stderr():
                found = tuple(make())
        except BUGS as error:
            raise PluginUnavailableError(
                f"the entries of the set {name!r} cannot be read: {type(error).__name__}: {error}",
                hint="fix the function that its declaration names",
            ) from error
        if not found or not all(isinstance(each, SetEntry) for each in found):
            raise PluginUnavailableError(
                f"the set {name!r} must return SetEntry objects, at least one",
                hint="fix the function that its declaration names",
            )
        return found

    def is_set(self, name: str) -> bool:
        """Return True if a name among chosen tasks means a set of tasks."""
        taken = name in self.tasks or any(task.startswith(f"{name}/") for task in self.tasks)
        return name in self.task_sets and not taken

    def absent(self, names: Iterable[str]) -> dict[str, str]:
        """Return task -> reason for the tasks of chosen sets that no plugin provides."""
        found = {}
        for name in filter(self.is_set, names):
            for entry in self.entries(name):
                if entry.task not in self.tasks or entry.task in self.unusable:
                    owner = _inactive(entry.task, self.plugins)
                    why = self.unusable.get(entry.task) or owner or "no plugin provides it"
                    found[entry.task] = f"{entry.benchmark}: {why}"
        return found

    def select(self, names: str | Sequence[str]) -> list[Selected]:
        """Return the tasks that names, prefixes or sets choose, in that order, each once.

        A prefix chooses the tasks right below it: `xbd` chooses `xbd/count`, and only
        `xbd/earthdial` chooses `xbd/earthdial/detect`. If there are none, it chooses all deeper
        ones. A name that is a task and a prefix chooses the task and its children.
        Tasks of a set that no plugin provides are left out, see `absent`.
        """
        wanted = names.split(",") if isinstance(names, str) else list(names)
        chosen: dict[str, Selected] = {}
        for name in (each.strip() for each in wanted):
            if self.is_set(name):
                gone = self.absent([name])
                for entry in self.entries(name):
                    if entry.task not in gone:
                        chosen.setdefault(entry.task, Selected(self.task(entry.task), False))
                continue
            below = [task for task in self.tasks if task.startswith(f"{name}/")]
            children = [task for task in below if "/" not in task[len(name) + 1 :]] or below
            if name in self.tasks or not children:
                spec = self.task(name)
                chosen[name] = Selected(spec, True)
            for child in children:
                chosen.setdefault(child, Selected(self.task(child), False))
        return list(chosen.values())

    def profile(self, model_type: str, *, own_code: bool = False) -> ModelProfile:
        """Return the profile of a model family.

        It is that of a plugin or of the core. Every other chat model of transformers gets the
        generic one, whose frame of boxes is not known. `own_code`: the checkpoint comes with code
        of its own, which is a reason if there is no profile.

        Raises:
            UnknownNameError: there is none; states the reason, and what to give instead.
        """
        found = _profile(self.manager, self.plugins, model_type)
        if found is not None:
            return found
        if families.is_chat_type(model_type):
            return profiles.generic(model_type)
        why = families.refusal(model_type, own_code=own_code)
        raise UnknownNameError(
            f"no model profile for model type {model_type!r}: it {why.reason}", hint=why.hint
        )

    def callbacks(self, stage: StageInfo) -> list[Any]:
        """Return the trainer callbacks of all plugins for a stage.

        The callbacks of a plugin whose hook fails are left out, with a warning.

        Raises:
            PluginUnavailableError: the stage trains a task of that plugin.
        """
        from transformers import TrainerCallback

        owners = {task.partition("/")[0] for task in stage.tasks}
        callbacks: list[Any] = []
        for record in self.plugins:
            if "geovlm_callbacks" not in record.hooks:
                continue
            found = call(
                self.manager, record.name, "geovlm_callbacks", wanted=TrainerCallback, stage=stage
            )
            if found.problem and record.name in owners:
                raise PluginUnavailableError(
                    f"{record.title}: {found.problem}",
                    hint=f"{DEBUG_VARIABLE}=1 prints the traceback",
                )
            if found.problem:
                _warn(f"the callbacks of {record.title} are left out: {found.problem}")
            callbacks += found.results
        return callbacks

    def active(self) -> list[str]:
        """Return the names of the active plugins, without the core's own."""
        return [r.name for r in self.plugins if r.status == "active" and r.name != CORE]

    def call(self, plugin: str, hook: str, **arguments: Any) -> list[Any]:
        """Call one hook of one plugin; its output goes to standard error."""
        with stdout_to_stderr():
            found: list[Any] = only(self.manager, plugin, hook)(**arguments)
        return found

    def _get(self, kind: str, name: str, table: Mapping[str, T]) -> T:
        if name in table:
            return table[name]
        inactive = _inactive(name, self.plugins)
        if inactive:
            raise PluginUnavailableError(f"{kind} {name!r} is not available: {inactive}")
        hidden = [record.name for record in self.plugins if record.status != "active"]
        if kind == "task":
            hidden += self.task_sets
        raise UnknownNameError(_unknown(kind, name, table, hidden=hidden))


def load(*, disabled: Iterable[str] = ()) -> Registry:
    """Return the registry of this process; plugins are loaded once, warnings are printed once.

    Disabled plugins are left out, in addition to those of `GEOVLM_DISABLE_PLUGINS` (`a,b` or `*`).
    """
    return _load(frozenset(disabled) | disabled_by_environment(), files_of_user())


@lru_cache
def _load(disabled: frozenset[str], files: tuple[Path, ...]) -> Registry:
    found = discover(disabled=disabled, files=files)
    for warning in found.warnings:
        _warn(warning)
    reasons = {task.name: _missing(task, found) for task in found.tasks.values()}
    unusable = {name: reason for name, reason in reasons.items() if reason}
    return Registry(**vars(found), unusable=unusable)


def _warn(message: str) -> None:
    print(f"warning: {message}", file=sys.stderr)


@lru_cache
def _profile(
    manager: pluggy.PluginManager, records: tuple[PluginRecord, ...], model_type: str
) -> ModelProfile | None:
    """Return the first profile, in the order of pluggy; a plugin that fails is a warning."""
    hook = "geovlm_model_profile"
    titles = {record.name: record.title for record in reversed(records)}
    for implementation in reversed(manager.hook.geovlm_model_profile.get_hookimpls()):
        name = implementation.plugin_name
        found = call(manager, name, hook, wanted=ModelProfile, model_type=model_type)
        if found.problem:
            _warn(f"the model profiles of {titles[name]} are left out: {found.problem}")
        if found.results:
            profile: ModelProfile = found.results[0]
            return profile
    return None


def _missing(task: TaskSpec, found: PluginSet) -> str:
    """Return which name of the task nobody provides, as a sentence; empty if there is none."""
    rewards = [name for weights in task.rewards.values() for name in weights]
    wanted: list[tuple[str, str, Mapping[str, Any]]] = [
        ("data set", task.dataset, found.datasets),
        *(("reward", name, found.rewards) for name in rewards),
        *(("metric", name, found.metrics) for name in task.metrics),
    ]
    for kind, name, table in wanted:
        if name not in table:
            owner = _inactive(name, found.plugins)
            return f"it needs {kind} {name!r}: {owner or 'no plugin provides it'}"
    return ""


def _inactive(name: str, records: Iterable[PluginRecord]) -> str:
    """Return why the plugin that owns a name is not active, and the fix; empty if none owns it."""
    for record in records:
        if record.name == name.partition("/")[0] and record.status != "active":
            fix = {
                "broken": f"Run 'geovlm plugins doctor {record.name}' for the traceback.",
                "incompatible": f"Run 'geovlm plugins doctor {record.name}' for what to install.",
                "disabled": "Remove it from --no-plugin and GEOVLM_DISABLE_PLUGINS.",
            }
            if record.file is not None:
                return f"{record.describe()}."
            return f"{record.describe()}. {fix[record.status]}"
    return ""


def _unknown(kind: str, name: str, known: Iterable[str], *, hidden: Iterable[str] = ()) -> str:
    available = sorted(known)
    children = [each for each in available if each.startswith(f"{name}/")]
    if children:
        return f"{name!r} is a prefix of {kind}s; choose one of {', '.join(children)}."
    # `xbd` selects its children, but only where tasks are chosen
    prefixes = {each.partition("/")[0] for each in available} if kind == "task" else set()
    near = difflib.get_close_matches(name, [*prefixes, *available, *hidden], n=1, cutoff=0.5)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    listed = f"Available: {', '.join(available)}." if available else "No plugin provides one."
    return f"unknown {kind} {name!r}.{meant} {listed}"
