"""Differences of configuration, versions and machine between runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

from geovlm.report import facts
from geovlm.report.compare.runs import Run

_APART = ("output", "stages", "tasks")
"""The folder of a run says nothing of it; stages and tasks are compared one by one."""
ABSENT = "–"
"""In place of a value or of a default that does not exist."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One key, and its value in each run."""

    key: str
    values: tuple[str, ...]
    """In the order of the runs; `ABSENT` where a run has no such key."""
    default: str
    """The default of the key; `ABSENT` if it has none."""


def settings(runs: Sequence[Run]) -> list[Difference]:
    """Return the keys of the configuration that differ, in the order of their first occurrence.

    Keys of stages begin with the stage's name in scores. A key that a run of an earlier version
    does not state has its default there. Of stages and tasks that not every run has, only the list
    is shown.
    """
    configs = [run.resolved["config"] for run in runs]
    stages = [_stages(config.get("stages", ())) for config in configs]
    found = [_difference("stages", [", ".join(own) or "none" for own in stages])]
    found.append(_difference("tasks", [", ".join(run.resolved["task_names"]) for run in runs]))
    own = [{key: config[key] for key in config if key not in _APART} for config in configs]
    found += _differences(own, defaults=_defaults())
    named = [config.get("tasks", {}) for config in configs]
    both = [name for name in named[0] if all(name in each for each in named)]
    found += _differences([{name: each[name] for name in both} for each in named], defaults={})
    for stage in dict.fromkeys(name for each in stages for name in each):
        if all(stage in each for each in stages):
            tables = [{stage: each[stage]} for each in stages]
            kind = stages[0][stage]["kind"]
            found += _differences(tables, defaults={stage: _stage_defaults(kind)})
    return [each for each in found if each is not None]


def _differences(
    tables: Sequence[Mapping[str, Any]], *, defaults: Mapping[str, Any]
) -> Iterator[Difference | None]:
    flat, known = [dict(_flat(table)) for table in tables], dict(_flat(defaults))
    for key in dict.fromkeys(key for each in flat for key in each):
        default = known.get(key, ABSENT)
        yield _difference(key, [each.get(key, default) for each in flat], default=default)


def versions(runs: Sequence[Run]) -> list[Difference]:
    """Return the versions and parts of the machine that differ."""
    found = []
    listed = [_environment(run.environment) for run in runs]
    for key in dict.fromkeys(key for own in listed for key in own):
        found.append(_difference(key, [own.get(key, ABSENT) for own in listed]))
    return [each for each in found if each is not None]


def _difference(key: str, values: Sequence[Any], *, default: Any = ABSENT) -> Difference | None:
    """Return the difference of a key, or `None` if all runs have the same value."""
    if all(value == values[0] for value in values):
        return None
    shown = [_shown(value) for value in values]
    if len(set(shown)) == 1:  # folders of one name in several places
        shown = [f"{text} (place {n})" for n, text in enumerate(shown, start=1)]
    return Difference(key=key, values=tuple(shown), default=_shown(default))


def _shown(value: Any) -> str:
    """Return a value as text, folders of the machine left out."""
    if value is None:
        return "none"
    short = facts.without_folders(value)
    return short if isinstance(short, str) else json.dumps(short, ensure_ascii=False)


def _flat(value: Mapping[str, Any], *, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted key and value of nested tables; a list is a value, an empty table nothing."""
    for key, each in value.items():
        if isinstance(each, Mapping):
            yield from _flat(each, prefix=f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", each


def _stages(stages: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the stages by their names in scores: `sft`, `probe`, `grpo`, a second one `sft-2`."""
    found: dict[str, Mapping[str, Any]] = {}
    for stage in stages:
        number = sum(other["kind"] == stage["kind"] for other in found.values()) + 1
        found[stage["kind"] if number == 1 else f"{stage['kind']}-{number}"] = stage
    return found


@cache
def _defaults() -> Mapping[str, Any]:
    from geovlm.config.schema import RunConfig

    return RunConfig().model_dump(mode="json")


@cache
def _stage_defaults(kind: str) -> Mapping[str, Any]:
    """Return the defaults of a stage's keys, and those of TRL that a plan reads."""
    from pydantic import BaseModel

    from geovlm.config import stages

    tables = (stages.SftStage, stages.ProbeStage, stages.GrpoStage)
    table = next(each for each in tables if kind in get_args(each.model_fields["kind"].annotation))
    made: dict[str, Any] = {}
    for name, field in table.model_fields.items():
        if not field.is_required():
            value = field.get_default()
            made[name] = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return {**made, "trainer": stages.TRL_DEFAULTS} if "trainer" in made else made


def _environment(environment: Mapping[str, Any]) -> dict[str, Any]:
    machine = environment.get("machine") or {}
    return {
        **{key: environment[key] for key in ("geovlm", "python") if key in environment},
        **environment.get("packages", {}),
        **{f"plugin {each['name']}": each["version"] for each in environment.get("plugins", ())},
        **{f"machine: {key}": value for key, value in machine.items()},
    }
