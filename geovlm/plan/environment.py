"""Describes what a run is made with: versions, plugins, machine, data, hashes of prompts."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from typing import TYPE_CHECKING, Any

from geovlm import __version__
from geovlm.plan import checksums
from geovlm.plugins.installed import version

if TYPE_CHECKING:
    from geovlm.config.model import ModelFacts
    from geovlm.plan.build import Plan
    from geovlm.plugins.registry import Registry

_PACKAGES = (
    *("torch", "transformers", "trl", "accelerate", "datasets", "peft", "sentence-transformers"),
    *("shapely", "python-Levenshtein", "numpy", "pillow"),
)
_PLUGIN_KEYS = ("name", "distribution", "version", "status", "reason")


def _files(model: ModelFacts) -> dict[str, str]:
    """Return the hashes of a model's files, as far as they are on this machine."""
    if model.folder is None or model.shipped:
        return {}
    return checksums.of_model(model.folder)


def describe(plan: Plan, *, registry: Registry, gpus: int) -> dict[str, Any]:
    """Return the contents of `environment.json`, with the number of visible GPUs."""
    return {
        "geovlm": __version__,
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := version(name))},
        "plugins": [
            {key: getattr(record, key) for key in _PLUGIN_KEYS} for record in registry.plugins
        ],
        "machine": {
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "gpus": gpus,
            "device": plan.config.device,
        },
        "model": {
            "name": plan.model.name,
            "built_in": plan.model.built_in,
            "model_type": plan.model.model_type,
            "parameters": plan.model.parameters,
            "profile": plan.model.profile.name if plan.model.profile is not None else None,
            "files": _files(plan.model),
        },
        "data": {
            task.dataset: {
                "root": str(task.root),
                "generated": task.generated,
                "version": registry.dataset(task.dataset).version,
                "splits": plan.checksums[task.dataset],
            }
            for task in plan.tasks
        },
        "tasks": {
            task.name: {
                "version": registry.task(task.name).version,
                "prompt_sha256": task.prompt_sha256,
                "samples": dict(task.samples),
                "skipped": task.skipped,
            }
            for task in plan.tasks
        },
        "left_out": dict(plan.left_out),
        "seed": plan.config.seed,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv[1:],
    }
