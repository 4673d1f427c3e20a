"""Finds the GPUs that a run may use, without importing torch."""

from __future__ import annotations

import os
import re
import subprocess
from itertools import takewhile
from typing import TYPE_CHECKING, Literal

from geovlm.errors import ConfigError
from geovlm.plugins import installed

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig


def visible_gpus() -> list[str]:
    """Return the ids of the GPUs that this process may use; none with a torch built for the CPU.

    CUDA hides all GPUs after the first one in CUDA_VISIBLE_DEVICES that the machine lacks.
    """
    if (installed.version("torch") or "").endswith("+cpu"):
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(i) for i in range(_listed() or 0)]
    ids = [each.strip() for each in named.split(",") if each.strip() not in ("", "-1")]
    there = _listed() if any(map(str.isdigit, ids)) else None
    if there is None:
        return ids
    return list(takewhile(lambda each: not each.isdigit() or int(each) < there, ids))


def _listed() -> int | None:
    """Return the number of GPUs that the driver lists; `None` if it does not answer."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return len(re.findall(r"^GPU \d+:", listed.stdout, re.MULTILINE))


def device(config: RunConfig, *, gpus: int | None = None) -> Literal["cpu", "cuda"]:
    """Return the device of a run's stages; `gpus` of a machine default to those visible here.

    Raises:
        ConfigError: the run needs more GPUs than there are.
    """
    gpus = len(visible_gpus()) if gpus is None else gpus
    wanted = config.gpus or config.processes
    if config.device == "cpu" or (config.device == "auto" and config.gpus is None and not gpus):
        return "cpu"
    if wanted > gpus:
        there = f"{gpus} are visible" if gpus else "none is visible"
        raise ConfigError(
            f"{wanted} GPUs are asked for and {there}",
            hint=f"use --gpus {gpus}" if gpus else "use --processes N --set device=cpu",
        )
    return "cuda"
