"""Describes tasks as tables, for the commands that list and show them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from geovlm.api import DatasetSpec, ModelProfile, TaskSpec
from geovlm.errors import GeoVLMError
from geovlm.plugins.registry import Registry

DATA_VARIABLE = "GEOVLM_DATA"
"""Variable with the folder of data sets, used without `--data`."""
SETS = ("paper", "robust")
"""Sets of rewards."""


def row(task: TaskSpec, *, loaded: Registry, data: Path | None) -> dict[str, Any]:
    """Return a task as `geovlm tasks list` has it; `data` is the folder of data sets."""
    return {
        "name": task.name,
        "version": task.version,
        "summary": task.summary,
        "dataset": task.dataset,
        "data_found": is_found(loaded.datasets.get(task.dataset), data=data),
        "rewards": {chosen: dict(task.rewards[chosen]) for chosen in SETS},
        "metrics": list(task.metrics),
        "primary_metric": task.primary_metric,
        "tags": sorted(task.tags),
        "plugin": task.name.partition("/")[0],
        "usable": task.name not in loaded.unusable,
        "reason": loaded.unusable.get(task.name, ""),
    }


def is_found(spec: DatasetSpec | None, *, data: Path | None) -> bool:
    """Return True if a folder of the data set is known, in `--data` or in `$GEOVLM_DATA`."""
    if spec is not None and spec.root is not None:
        return spec.root.is_dir()
    named = os.environ.get(DATA_VARIABLE)
    root = data or (Path(named) if named else None)
    return spec is not None and root is not None and any((root / f).is_dir() for f in spec.folders)


def full(task: TaskSpec, spec: DatasetSpec, *, loaded: Registry) -> dict[str, Any]:
    """Return a task as `geovlm tasks show` has it, with an example."""
    made = row(task, loaded=loaded, data=None)
    made["rewards"] = {
        chosen: [
            {"name": reward, "weight": weight}
            | {key: getattr(loaded.reward(reward), key) for key in ("summary", "formula", "source")}
            for reward, weight in task.rewards[chosen].items()
        ]
        for chosen in SETS
    }
    made["metrics"] = [
        {"name": metric, "summary": loaded.metric(metric).summary} for metric in task.metrics
    ]
    made["dataset"] = {
        field: getattr(spec, field)
        for field in ("name", "version", "summary", "splits", "folders", "licence", "homepage")
    } | {"citation": spec.citation, "size_gb": spec.size_gb}
    made |= {
        "protocol": task.protocol,
        "max_answer_tokens": task.max_answer_tokens,
        "min_pixels": task.min_pixels,
        "options": _options(task.options),
        "data_options": _options(spec.options),
        "example": _example(task, spec, profile=loaded.profile("qwen2_5_vl")),
    }
    return made


def _example(task: TaskSpec, spec: DatasetSpec, *, profile: ModelProfile) -> dict[str, Any]:
    """Return one turn, from generated data unless a file says where the data are.

    `{"error": …}` if there is none.
    """
    from geovlm.cli.datasets import MINIATURE_RECORDS
    from geovlm.data import preview as pictures
    from geovlm.data.loading import sample_root
    from geovlm.data.prompts import Prompter

    try:
        root = spec.root or sample_root(spec, n=MINIATURE_RECORDS, seed=0)
        sample = pictures.samples(task, spec, root=root, split=spec.splits[0], n=1)[0]
        turn = Prompter(task, profile=profile).prompt(sample).turn
    except GeoVLMError as error:
        return {"error": str(error)}
    return {"question": turn.question, "reasoning": turn.reasoning, "answer": turn.answer}


def _options(made: type | None) -> list[dict[str, Any]]:
    """Return names, defaults and docstrings of the fields of an options class."""
    if made is None:
        return []
    import ast
    import dataclasses
    import inspect
    import itertools
    import textwrap

    tree = ast.parse(textwrap.dedent(inspect.getsource(made))).body[0]
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    documented = {
        field.target.id: " ".join(str(text.value.value).split())
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }
    defaults = made()
    return [
        {
            "name": field.name,
            "default": getattr(defaults, field.name),
            "help": documented.get(field.name, ""),
        }
        for field in dataclasses.fields(made)
    ]
