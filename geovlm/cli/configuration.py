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
    tasks are those of `data_files`.

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
    return config
