"""Names -> specifications: one place that knows what is installed and what a user may have meant."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple, TypeVar

from geovlm.api import (
    DatasetSpec,
    MetricSpec,
    ModelProfile,
    Ref,
    RewardSpec,
    StageInfo,
    TaskSpec,
)
from geovlm.errors import PluginUnavailableError, UnknownNameError
from geovlm.plugins import PluginRecord, PluginSet, discover

T = TypeVar("T")


class Selected(NamedTuple):
    """A task that a user chose, by its own name or by a prefix."""

    spec: TaskSpec
    explicit: bool


@dataclass(frozen=True, kw_only=True)
class Registry:
    """Everything that the active plugins declare."""

    datasets: Mapping[str, DatasetSpec]
    tasks: Mapping[str, TaskSpec]
    rewards: Mapping[str, RewardSpec]
    metrics: Mapping[str, MetricSpec]
    unusable: Mapping[str, str]
    """Task -> why it cannot be used: a data set, reward or metric that nobody provides."""
    set: PluginSet

    @property
    def plugins(self) -> tuple[PluginRecord, ...]:
        """The records of all plugins, built-in first."""
        return self.set.records

    def plugin(self, name: str) -> PluginRecord:
        """Return the record of a plugin, whatever its status."""
        records = {record.name: record for record in self.plugins}
        if name not in records:
            raise _unknown("plugin", name, records)
        return records[name]

    def task(self, name: str) -> TaskSpec:
        """Return the task.

        Raises:
            UnknownNameError: nothing of this name; says what may have been meant.
            PluginUnavailableError: the plugin behind the name is not active, or the task names
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

    def select(self, names: str | Sequence[str]) -> list[Selected]:
        """Return the tasks that names or prefixes choose, in that order, each once.

        A name that is a task and a prefix chooses the task and its children.
        """
        wanted = names.split(",") if isinstance(names, str) else list(names)
        chosen: dict[str, Selected] = {}
        for name in (each.strip() for each in wanted):
            children = [task for task in self.tasks if task.startswith(f"{name}/")]
            if name in self.tasks or not children:
                spec = self.task(name)
                chosen[name] = Selected(spec, True)
            for child in children:
                if child not in self.unusable:
                    chosen.setdefault(child, Selected(self.tasks[child], False))
        return list(chosen.values())

    def profile(self, model_type: str) -> ModelProfile:
        """Return how to talk to a model family.

        Raises:
            UnknownNameError: no plugin knows it.
        """
        found = self.set.manager.hook.geovlm_model_profile(model_type=model_type)
        if found is None:
            raise UnknownNameError(
                f"no model profile for model type {model_type!r}",
                hint="a plugin can provide one with the hook geovlm_model_profile",
            )
        if not isinstance(found, ModelProfile):
            raise TypeError(f"geovlm_model_profile must return a ModelProfile, got {found!r}")
        return found

    def callbacks(self, stage: StageInfo) -> list[Any]:
        """Return the trainer callbacks of all plugins for a stage."""
        found = self.set.manager.hook.geovlm_callbacks(stage=stage)
        return [callback for many in found for callback in many]

    def _get(self, kind: str, name: str, table: Mapping[str, T]) -> T:
        if name in table:
            return table[name]
        owner = name.partition("/")[0]
        for record in self.plugins:
            if record.name == owner and record.status != "active":
                raise PluginUnavailableError(
                    f"{kind} {name!r} is not available: plugin {record.name!r} "
                    f"({record.distribution} {record.version}) is {record.status}: "
                    f"{record.reason}. Run 'geovlm plugins doctor {record.name}' for the traceback."
                )
        raise _unknown(kind, name, table)


def load(*, disabled: Iterable[str] = ()) -> Registry:
    """Return the registry of this process; plugins are loaded once.

    Args:
        disabled: plugins to leave out, beside those of `GEOVLM_DISABLE_PLUGINS` (`a,b` or `*`).
    """
    named = os.environ.get("GEOVLM_DISABLE_PLUGINS", "").split(",")
    return _load(frozenset(filter(None, (*(name.strip() for name in named), *disabled))))


def resolve(ref: Ref[T]) -> T:
    """Return the object itself, or import what `"module:attribute"` names.

    Raises:
        PluginUnavailableError: the reference points to nothing; names it.
    """
    return _imported(ref) if isinstance(ref, str) else ref


@lru_cache
def _imported(ref: str) -> Any:
    module, _, attribute = ref.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise PluginUnavailableError(
            f"reference {ref!r} cannot be resolved: {error}",
            hint="the plugin is incomplete, or one of its dependencies is missing",
        ) from error


@lru_cache
def _load(disabled: frozenset[str]) -> Registry:
    found = discover(disabled=disabled)
    tables: dict[str, dict[str, Any]] = {
        hook: {spec.name: spec for record in found.records for spec in record.specs.get(hook, ())}
        for hook in ("geovlm_datasets", "geovlm_tasks", "geovlm_rewards", "geovlm_metrics")
    }
    for record in found.records:
        if record.status in ("broken", "incompatible"):
            print(
                f"warning: plugin {record.name!r} ({record.distribution} {record.version}) is "
                f"{record.status}: {record.reason}",
                file=sys.stderr,
            )
    unusable = {}
    for task in tables["geovlm_tasks"].values():
        missing = _missing(task, tables)
        if missing:
            unusable[task.name] = missing
    return Registry(
        datasets=tables["geovlm_datasets"],
        tasks=tables["geovlm_tasks"],
        rewards=tables["geovlm_rewards"],
        metrics=tables["geovlm_metrics"],
        unusable=unusable,
        set=found,
    )


def _missing(task: TaskSpec, tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what the task names and nobody provides, or nothing."""
    if task.dataset not in tables["geovlm_datasets"]:
        return f"no plugin provides data set {task.dataset!r}"
    if set(task.rewards) != {"paper", "robust"}:
        return f"its rewards are {sorted(task.rewards)}, not paper and robust"
    for rewards in task.rewards.values():
        for name in rewards:
            if name not in tables["geovlm_rewards"]:
                return f"no plugin provides reward {name!r}"
    for name in task.metrics:
        if name not in tables["geovlm_metrics"]:
            return f"no plugin provides metric {name!r}"
    return ""


def _unknown(kind: str, name: str, table: Iterable[str]) -> UnknownNameError:
    known = sorted(table)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return UnknownNameError(f"unknown {kind} {name!r}", hint=f"{meant}available: {', '.join(known)}")
