"""Reads the sizes of the run's model, in a process of the engine, because that needs torch.

It takes ten seconds, so the answer is cached until the model's `config.json` changes.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geovlm.data import cache
from geovlm.errors import ConfigError, DataError
from geovlm.plan.memory.parts import ModelShape, Stack
from geovlm.plugins.installed import version
from geovlm.run.process import isolated, python

if TYPE_CHECKING:
    from geovlm.config.model import ModelFacts
    from geovlm.config.schema import RunConfig

MODULE = "geovlm.engine.programs.shape"
_VERSION = 4
"""Version of the cached answers; to be raised with every change of `ModelShape`."""
_OF_PROFILE = (
    *("name", "model_types", "box_frame", "size_factor", "resize"),
    *("lora_targets", "vision_module"),
)
"""The fields of a profile that the engine's process reads, or that a profile must have."""
_FILES = ("config.json", "preprocessor_config.json", "processor_config.json")
"""Files of a checkpoint that the answer is read from."""


def inspect(facts: ModelFacts, config: RunConfig) -> ModelShape:
    """Return the exact sizes of the model, from its config alone.

    Raises:
        ConfigError: its files are not on this machine, its parts are not found, or it cannot have
            adapters as `lora` says.
    """
    folder = facts.folder
    if folder is None or facts.profile is None:
        name = shlex.quote(config.model)
        raise ConfigError(
            f"model {config.model!r} is not on this machine: its memory cannot be estimated",
            hint=f"hf download {name} --include '*.json' downloads the needed files",
        )
    lora = config.lora
    request = {
        "source": str(folder),
        "revision": None,
        "trust_remote_code": config.trust_remote_code,
        "profile": {name: getattr(facts.profile, name) for name in _OF_PROFILE},
        "lora": {} if lora is None else {"targets": lora.targets, "dropout": lora.dropout},
    }
    # code that comes with a model may change without its config.json
    answer = _ask(request) if config.trust_remote_code else _cached(request, folder)
    found = json.loads(answer)
    text, vision = (Stack(**found.pop(name)) for name in ("text", "vision"))
    return ModelShape(text=text, vision=vision, **found)


def _cached(request: dict[str, Any], folder: Path) -> bytes:
    """Return the answer of the engine's process, from the cache if there is one."""
    libraries = [f"{name} {version(name)}" for name in ("transformers", "peft")]
    kind = " ".join(["shape", str(_VERSION), *libraries, json.dumps(request)])
    files = [folder / name for name in _FILES if (folder / name).is_file()]
    try:
        ((_, answer),) = cache.look(
            [request], kind=lambda _: kind, files=lambda _: files, work=lambda one, _: _ask(one)
        )
    except DataError:  # the cache cannot be used
        return _ask(request)
    assert isinstance(answer, bytes)  # a failure is not a DataError
    return answer


def _ask(request: dict[str, Any]) -> bytes:
    """Return the answer of the engine's process."""
    done = subprocess.run(
        python("-m", MODULE),
        env=isolated(),
        input=json.dumps(request),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode == 2:
        raise ConfigError(done.stderr.strip().splitlines()[-1].removeprefix("error: "))
    if done.returncode:
        raise RuntimeError(f"{MODULE} failed: {done.stderr}")
    return done.stdout.splitlines()[-1].encode()
