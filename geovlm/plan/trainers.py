"""Tries the trainer of every stage before a run starts, in a process of the engine.

The process takes ten seconds, most of it to import TRL. So a success is kept until the stages, the
installed packages or this version change; a failure is not kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geovlm import __version__
from geovlm.data import cache
from geovlm.errors import ConfigError
from geovlm.run import files, launch

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig
    from geovlm.run.folder import RunDir

_VERSION = 2
"""Version of the trial; to be raised with every change of `geovlm.engine.programs.trainers`."""
_READ = ("model", "trust_remote_code", "lora", "stages", "device", "parallel")
"""Fields of the configuration on which a trial depends, besides numbers of processes."""


def check(
    config: RunConfig, *, task_names: list[str], elsewhere: bool, begun: RunDir | None
) -> None:
    """Refuse trainers that cannot be built or cannot take a step, of all stages that are not done.

    `begun` is the run that is resumed.

    Raises:
        ConfigError: names every such stage, the key, and the reason of the library.
    """
    stages = [
        index
        for index, stage in enumerate(config.stages)
        if stage.kind != "probe" and not _is_done(begun, index)
    ]
    if not stages:
        return
    refuse_without_account(config, stages)
    before = begun.read_resolved().get("started_with", {}) if begun is not None else {}
    request = {
        "config": config.model_dump(mode="json"),
        "task_names": task_names,
        "stages": stages,
        "started_with": before,
        "elsewhere": elsewhere,
    }
    marker = markers() / _key(config, request)
    if marker.is_file():
        return
    print("trying the trainers of all stages", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="geovlm-trial-") as scratch:
        path = Path(scratch) / "request.json"
        files.write_json(path, request)
        on_cpu = config.device == "cpu" or elsewhere
        launch.start("trainers", "--request", str(path), folder=Path(scratch), on_cpu=on_cpu)
    with contextlib.suppress(OSError):  # without a cache the next trial takes its time
        files.write_text(marker, "", sync=False)


def markers() -> Path:
    """Return the folder with an empty file for each trial that went well."""
    return cache.cache_dir() / "trainers"


def _is_done(begun: RunDir | None, index: int) -> bool:
    if begun is None or index >= len(begun.read_resolved()["stage_folders"]):
        return False
    return begun.is_done(index)


def _key(config: RunConfig, request: Mapping[str, Any]) -> str:
    """Return a name for a trial: the same for the same stages and packages."""
    sizes = [config.world_size(index) for index in range(len(config.stages))]
    dumped = request["config"]
    parts = [
        *(_VERSION, __version__, sys.executable, sorted(_installed())),
        *(os.environ.get("CUDA_VISIBLE_DEVICES"), sizes),
        {name: dumped[name] for name in _READ},
        {name: value for name, value in request.items() if name not in ("config", "task_names")},
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _installed() -> Iterator[str]:
    """Yield the names of the metadata of all installed packages, versions included."""
    for folder in dict.fromkeys(sys.path):
        with contextlib.suppress(OSError):
            for path in Path(folder).iterdir():
                if path.name.endswith((".dist-info", ".egg-info", ".egg-link")):
                    yield path.name


def refuse_without_account(config: RunConfig, stages: list[int]) -> None:
    """Refuse uploads without an account: they would fail when the stage begins or saves.

    Raises:
        ConfigError: names the key and how to log in.
    """
    for index in stages:
        trainer = config.stages[index].trainer  # type: ignore[union-attr]  # not a probe
        if trainer.get("push_to_hub") and not trainer.get("hub_token"):
            from huggingface_hub import get_token

            if get_token() is None:
                raise ConfigError(
                    f"stages.{index}.trainer.push_to_hub needs an account of the Hugging Face hub",
                    hint="log in with 'hf auth login', or set HF_TOKEN",
                )
