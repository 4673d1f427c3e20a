"""The trial of one row per task, see `geovlm.engine.programs.preflight`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geovlm.api import Raster, Sample
from geovlm.config import checkpoint
from geovlm.config.model import ModelFacts
from geovlm.plan.data import TaskPlan
from geovlm.plan.trials.process import Trial
from geovlm.raster import reference

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig

_VERSION = 2
"""Version of the trial; to be raised with every change of what it compares."""
_NOT_READ = ("output", "data", "data_root", "processes", "gpus", "machines", "device", "parallel")
"""Fields of the configuration on which the trial does not depend."""


def trial(
    config: RunConfig,
    *,
    model: ModelFacts,
    samples: Mapping[str, Sample],
    plans: Sequence[TaskPlan] = (),
) -> Trial | None:
    """Return the trial of one sample per task; `None` without the model's tokenizer and processor.

    A task whose prompt changes is tried again. Without samples a built-in example is read.
    """
    if model.folder is None or not checkpoint.has_reader(model.folder):
        return None
    request = {
        "config": config.model_dump(mode="json"),
        "samples": {task: _encoded(sample) for task, sample in samples.items()},
    }
    depends = [
        _VERSION,
        {name: value for name, value in request["config"].items() if name not in _NOT_READ},
        request["samples"],
        {plan.name: plan.prompt_sha256 for plan in plans},
        _states(path for path in sorted(model.folder.iterdir()) if path.is_file()),
        _states(file for sample in samples.values() for file in _files(sample)),
    ]
    return Trial("preflight", request, depends)


def _encoded(sample: Sample) -> dict[str, Any]:
    """Return a sample as JSON, without its provenance, which no prompt needs to be read alike."""
    return {
        "id": sample.id,
        "images": [reference.encode(image) for image in sample.images],
        "target": dict(sample.target),
        "question": sample.question,
        "meta": dict(sample.meta),
        "image_sizes": [list(size) for size in sample.image_sizes],
    }


def _files(sample: Sample) -> list[Path]:
    found: list[Path] = []
    for image in sample.images:
        if isinstance(image, Raster):
            found += [*image.files.values(), *([image.file] if image.file is not None else [])]
        else:
            found.append(image)
    return found


def _states(paths: Iterable[Path]) -> list[list[Any]]:
    """Return name, length and time of change of files."""
    states = [(path, path.stat()) for path in paths]
    return [[str(path), state.st_size, state.st_mtime_ns] for path, state in states]
