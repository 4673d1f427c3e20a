"""Builds the configuration of a command, and makes the data sets that it names known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geovlm.plugins import described

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig


def load(
    file: Path | None,
    *,
    preset: str | None = None,
    stored: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    **values: Any,
) -> RunConfig:
    """Return `geovlm.config.load.load` of the arguments, and offer its descriptions as data sets.

    They are those of `data_files`, and of the run that the model comes from. Without `tasks`, the
    tasks are those of `data_files`. A set among the tasks adds the options of its data sets.

    Raises:
        ConfigError: see `geovlm.config.load.load` and `geovlm.plugins.described.offer`.
    """
    from geovlm.config import load as reading
    from geovlm.config.schema import TaskConfig
    from geovlm.plan import descriptions

    config = reading.load(file, preset=preset, stored=stored, overrides=overrides, **values)
    # the descriptions of a resumed run are copies in its folder
    names = described.offer(config.data_files) if stored is None else ()
    if Path(config.model).is_dir():
        descriptions.adopt_around(Path(config.model))
    if names and not config.tasks:
        config = config.model_copy(update={"tasks": {name: TaskConfig() for name in names}})
    return _with_sets(config)


def _with_sets(config: RunConfig) -> RunConfig:
    """Return the configuration with the data options of chosen sets, below those of the user.

    Raises:
        ConfigError: two entries need different options of one data set.
    """
    from geovlm.config.options import lookup
    from geovlm.config.schema import DataConfig
    from geovlm.errors import ConfigError
    from geovlm.plugins import registry

    if not config.tasks:
        return config
    loaded = registry.load()
    wanted: dict[str, Mapping[str, Any]] = {}
    for name in filter(loaded.is_set, config.tasks):
        for entry in loaded.entries(name):
            if entry.task not in loaded.tasks:
                continue
            dataset = loaded.tasks[entry.task].dataset
            if wanted.setdefault(dataset, entry.data_options) != entry.data_options:
                raise ConfigError(
                    f"the set {name!r} asks {entry.benchmark!r} with {dict(entry.data_options)} of "
                    f"data set {dataset!r}, another entry with {dict(wanted[dataset])}",
                    hint="give one of their tasks by its own name",
                )
    data = dict(config.data)
    for dataset, options in wanted.items():
        if options:
            own = lookup(config.data, dataset) or DataConfig()
            root = config.data[dataset].root if dataset in config.data else None
            data[dataset] = DataConfig(root=root, options={**options, **own.options})
    return config.model_copy(update={"data": data})
