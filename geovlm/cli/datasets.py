"""Finds the folder of a data set and reads the data of tasks, for commands without a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geovlm.cli import arguments, output
from geovlm.errors import DatasetNotFoundError

if TYPE_CHECKING:
    from geovlm.api import DatasetSpec
    from geovlm.plan.data import Reader
    from geovlm.plugins.registry import Selected

MINIATURE_RECORDS = 16
"""Records per split of the generated data that is used without `--data`."""


def locate(spec: DatasetSpec, data: Path | None, *, quiet: bool = False) -> Path:
    """Return the folder of a data set: `data`, or a folder in it; generated data if `None`."""
    from geovlm.data.loading import find_root, sample_root

    if data is None:
        if not quiet:
            output.say(f"generated data, not {spec.name} itself; give yours with --data DIR")
        return sample_root(spec, n=MINIATURE_RECORDS, seed=0)
    if not data.is_dir():
        raise DatasetNotFoundError(spec.name, data, hint="--data takes an existing folder")
    if any((data / name).is_dir() for name in spec.folders):
        return find_root(spec, data_root=data)
    if not quiet and data.name not in spec.folders:
        output.say(
            f"{data} holds no {' or '.join(spec.folders)}: reading it as the data set itself"
        )
    return data


def reader(
    tasks: str,
    *,
    data: Sequence[str] | None,
    overrides: Sequence[str],
    model: str | None = None,
    rewards: str | None = None,
) -> tuple[Reader, Sequence[Selected]]:
    """Return a reader of the tasks' data, and the tasks; without `data`, data is generated."""
    from geovlm.config import load
    from geovlm.config import model as models
    from geovlm.plan.checks import check_data_names
    from geovlm.plan.data import Reader
    from geovlm.plugins import registry

    given = arguments.settings(tasks=tasks, data=data, model=model, rewards=rewards)
    config = load.load(None, overrides=overrides, **given)
    loaded = registry.load()
    chosen = loaded.select(tasks)
    check_data_names(config, registry=loaded)
    return Reader(config, loaded, models.inspect(config, registry=loaded), None), chosen
