"""A folder of a model's weights with the processor of the run, for programs that read folders."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download

from geovlm.config.schema import RunConfig
from geovlm.engine.models import limits
from geovlm.engine.models.processor import save_processor

_OF_PROCESSOR = frozenset({"processor_config.json", "chat_template.json", "chat_template.jinja"})
"""Files that would override those that are written."""


def link(
    path: str, config: RunConfig, *, processor: Any, folder: Path, as_sized: bool = False
) -> Path:
    """Return `folder`, with links to the weights at `path` and files of the `processor`.

    So vLLM has the run's chat template, with its values, and the run's pixel limits. With
    `as_sized` its processor leaves every image as it is that GeoVLM has resized within the limits;
    a second resize would change some sizes again.
    """
    if as_sized:
        processor = copy.deepcopy(processor)
        limits.loosen(processor.image_processor)
    given = Path(path).expanduser()
    revision = config.revision if path == config.model else None
    source = given if given.is_dir() else Path(snapshot_download(path, revision=revision))
    folder.mkdir(parents=True, exist_ok=True)
    save_processor(processor, folder)
    for file in source.iterdir():
        to = folder / file.name
        if file.is_file() and file.name not in _OF_PROCESSOR and not to.exists():
            to.symlink_to(file.resolve())
    return folder
