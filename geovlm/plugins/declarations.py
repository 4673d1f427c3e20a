"""Checks the declarations of a plugin: types that its hooks return, names, fields."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from geovlm import hookspecs
from geovlm.api import (
    Asked,
    DatasetSpec,
    MetricSpec,
    Reasoning,
    RewardSpec,
    Split,
    TaskSetSpec,
    TaskSpec,
)

Spec = DatasetSpec | TaskSpec | RewardSpec | MetricSpec | TaskSetSpec

HOOKS: dict[str, type[Any]] = {
    "geovlm_datasets": DatasetSpec,
    "geovlm_tasks": TaskSpec,
    "geovlm_rewards": RewardSpec,
    "geovlm_metrics": MetricSpec,
    "geovlm_task_sets": TaskSetSpec,
}
"""Hook -> type of the specs that it yields."""
NAME = re.compile(r"[a-z][a-z0-9_]*(/[a-z0-9_]+)*")
PLUGIN_NAME = re.compile(r"[a-z][a-z0-9_]*")

_REFERENCE = re.compile(r"[\w.]+:\w+")
_REWARD_SETS = {"paper", "robust"}
_MOST = 10_000
"""Largest number of specs of one hook; a hook that yields more probably never ends."""


class DeclarationError(Exception):
    """A declaration that the contract does not allow."""


def read(results: Iterable[Any], *, hook: str, plugin: str, core: bool) -> list[Spec]:
    """Return the specs in what one plugin's implementations of a hook of `HOOKS` returned.

    All names must begin with the plugin's, except those of the core.

    Raises:
        TypeError: not an iterable of the hook's type.
        DeclarationError: a spec that the contract does not allow.
        Exception: any error that a generator of the plugin raises.
    """
    specs: list[Spec] = []
    for result in results:
        if not isinstance(result, Iterable) or isinstance(result, str | bytes):
            raise TypeError(
                f"{hook} must yield {HOOKS[hook].__name__} objects, "
                f"returned {type(result).__name__}"
            )
        specs += islice(result, _MOST + 1)
        if len(specs) > _MOST:
            raise DeclarationError(f"{hook} yields more than {_MOST} objects")
    for spec in specs:
        _check(spec, hook=hook, plugin="" if core else plugin)
    return specs


def fits(value: Any, *, annotation: str) -> bool:
    """True if a field's value is of its type, as far as that is known without calling anything.

    Raises:
        KeyError: the contract has a field of a type that has no rule here.
    """
    if value is None and annotation.endswith("| None"):
        return True
    kind = annotation.removesuffix(" | None")
    return _RULES[kind if kind in _RULES else kind.partition("[")[0]](value)


def near_hook(name: str) -> str:
    """Return `; did you mean 'geovlm_tasks'?`, or nothing if no hook is near."""
    from difflib import get_close_matches

    known = [hook for hook in dir(hookspecs) if hook.startswith("geovlm_")]
    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _check(spec: Any, *, hook: str, plugin: str) -> None:
    wanted = HOOKS[hook]
    if not isinstance(spec, wanted):
        raise TypeError(f"{hook} must return {wanted.__name__} objects, got {spec!r:.80}")
    if not isinstance(spec.name, str) or not NAME.fullmatch(spec.name):
        raise DeclarationError(f"{hook}: {spec.name!r} is not a name of the form {NAME.pattern}")
    if plugin and spec.name.partition("/")[0] != plugin:
        raise DeclarationError(
            f"{hook}: the name {spec.name!r} must be {plugin!r} or begin with '{plugin}/'"
        )
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        if not fits(value, annotation=str(field.type)):
            raise DeclarationError(
                f"{hook}: {field.name} of {spec.name!r} must be of type {field.type}, "
                f"is {value!r:.80}"
            )
    if isinstance(spec, DatasetSpec):
        _check_dataset(spec)
    if isinstance(spec, RewardSpec) and not spec.low < spec.high:
        raise DeclarationError(f"reward {spec.name!r}: low {spec.low} is not below {spec.high}")
    if isinstance(spec, MetricSpec):
        _check_metric(spec)
    if isinstance(spec, TaskSpec):
        _check_task(spec)


def _check_dataset(spec: DatasetSpec) -> None:
    if not (spec.splits and spec.folders):
        raise DeclarationError(f"data set {spec.name!r} names no splits or no folders")
    unknown = [split for split in spec.splits if split not in get_args(Split)]
    if unknown:
        raise DeclarationError(
            f"data set {spec.name!r}: {unknown[0]!r} is not a split; use "
            f"{', '.join(get_args(Split))}"
        )


def _check_metric(spec: MetricSpec) -> None:
    given = [name for name in ("compute", "counts", "finish") if getattr(spec, name) is not None]
    if given not in (["compute"], ["counts", "finish"]):
        raise DeclarationError(
            f"metric {spec.name!r} has {' and '.join(given) or 'neither compute nor counts'}: "
            "declare compute alone, or counts and finish together"
        )


def _check_task(spec: TaskSpec) -> None:
    if set(spec.rewards) != _REWARD_SETS:
        raise DeclarationError(
            f"task {spec.name!r}: rewards must have the sets 'paper' and 'robust', "
            f"has {sorted(spec.rewards)}"
        )
    if not spec.metrics:
        raise DeclarationError(f"task {spec.name!r} names no metrics")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _are(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, tuple) and all(isinstance(v, kind) for v in value)


def _is_reference(value: Any) -> bool:
    return bool(_REFERENCE.fullmatch(value)) if isinstance(value, str) else callable(value)


def _are_weights(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(weights, Mapping)
        and all(isinstance(name, str) and _is_number(each) for name, each in weights.items())
        for weights in value.values()
    )


_RULES: dict[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": _is_number,
    "type": lambda value: isinstance(value, type),
    "tuple": _are(str),
    "tuple[Asked, ...]": _are(Asked),
    "frozenset": lambda value: isinstance(value, frozenset) and _are(str)(tuple(value)),
    "Path": lambda value: isinstance(value, Path),
    "Ref": _is_reference,
    "Mapping": _are_weights,
    "Reasoning": lambda value: value in get_args(Reasoning),
}
"""Annotation of a spec's field, whole or up to its bracket -> check of a value."""
