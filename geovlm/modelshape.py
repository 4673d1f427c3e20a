"""The shape of the run's model, read in a process of the engine: only there is torch imported."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from geovlm.errors import ConfigError
from geovlm.memory import ModelShape, Stack

if TYPE_CHECKING:
    from geovlm.config import RunConfig
    from geovlm.modelfacts import ModelFacts

MODULE = "geovlm.engine.shape"


def inspect(facts: ModelFacts, config: RunConfig) -> ModelShape:
    """Return the shape of the model, exact, from its config alone.

    Raises:
        ConfigError: its files are not on this machine, or nothing of it is called `lora.targets`.
    """
    if facts.folder is None or facts.profile is None:
        raise ConfigError(
            f"model {config.model!r} is not on this machine: its memory cannot be estimated",
            hint=f"hf download {config.model} --include '*.json' fetches what is needed",
        )
    request = {
        "source": str(facts.folder),
        "revision": None,
        "trust_remote_code": config.trust_remote_code,
        "profile": asdict(facts.profile),
        "targets": config.lora.targets if config.lora is not None else None,
    }
    done = subprocess.run(
        [sys.executable, "-m", MODULE],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 2:
        problem = done.stderr.strip().splitlines()[-1].removeprefix("error: ")
        raise ConfigError(f"lora.targets: {problem}", hint="it is matched against whole names")
    if done.returncode:
        raise RuntimeError(f"{MODULE} failed: {done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    text, vision = (Stack(**found.pop(name)) for name in ("text", "vision"))
    return ModelShape(text=text, vision=vision, **found)
