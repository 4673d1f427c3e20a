"""Finds settings that need a package which is not installed: bitsandbytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from geovlm.config.model import source
from geovlm.errors import ConfigError

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig


def check(config: RunConfig) -> None:
    """Refuse 4-bit weights and 8-bit optimisers if bitsandbytes is not installed.

    Raises:
        ConfigError: names the key and the package to install.
    """
    if find_spec("bitsandbytes") is not None:
        return
    for setting, instead in _for_bitsandbytes(config):
        raise ConfigError(
            f"{setting} needs bitsandbytes, which is not installed",
            hint=f"pip install 'geovlm[qlora]', or {instead}",
        )


def may_use_bitsandbytes(config: RunConfig) -> bool:
    """Return true if a stage may need bitsandbytes, for a setting or for the model's weights."""
    if any(_for_bitsandbytes(config)):
        return True
    try:
        facts = json.loads((Path(source(config.model)) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a name of the hub
        return True
    return "quantization_config" in facts


def _for_bitsandbytes(config: RunConfig) -> Iterator[tuple[str, str]]:
    """Yield every setting that needs bitsandbytes, and the remedy without it."""
    if config.lora is not None and config.lora.quantize != "none":
        yield f"lora.quantize={config.lora.quantize!r}", "leave it out"
    for index, stage in enumerate(config.stages):
        optimizer = "" if stage.kind == "probe" else str(stage.trainer.get("optim", ""))
        if needs_bitsandbytes(optimizer):
            yield f"stages.{index}.trainer.optim={optimizer!r}", "use adamw_torch_fused"


def needs_bitsandbytes(optimizer: str) -> bool:
    """Return true if an optimiser of transformers is from bitsandbytes: `OptimizerNames`, 5.23."""
    if optimizer.startswith(("adamw_torch", "galore_adafactor")):
        return False  # adamw_torch_8bit is torchao's
    return any(part in optimizer for part in ("8bit", "paged_", "bnb", "ademamix"))
