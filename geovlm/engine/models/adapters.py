"""Puts LoRA adapters on a model: which weights they go on, and with which rank."""

from __future__ import annotations

import re
from typing import Any

from peft import LoraConfig
from torch import nn
from transformers import PreTrainedModel

from geovlm.api import ModelProfile
from geovlm.config.schema import LoraConfig as Settings
from geovlm.config.schema import RunConfig
from geovlm.engine.models import structure
from geovlm.engine.models.structure import Targets
from geovlm.errors import ConfigError

ALL_LINEAR = "all-linear"
"""peft's word for every linear layer but the head."""


def of_run(
    config: RunConfig, profile: ModelProfile, *, model: PreTrainedModel, freeze_vision: bool = False
) -> LoraConfig | None:
    """Return the adapter of the run, or `None` for full fine-tuning.

    With `freeze_vision` it has no targets within the vision tower of the model.

    Raises:
        ConfigError: dropout is set and fused experts have adapters.
    """
    lora = config.lora
    if lora is None:
        return None
    chosen = targets(lora, profile, model=model)
    modules = chosen.modules
    # the targets that are found are in the text decoder, so there is nothing to leave out
    left_out = freeze_vision and lora.targets is not None
    if lora.vision and not freeze_vision and modules != ALL_LINEAR:
        # peft takes one expression over whole names, or a list of names
        tower = "|".join(map(re.escape, vision_linears(model, profile)))
        modules = f"{modules}|{tower}"
    tower = re.escape(structure.tower(model, profile))
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # a float will do
        lora_dropout=dropout(lora, experts=bool(chosen.parameters)),
        target_modules=modules,
        exclude_modules=rf"{tower}\..*" if left_out else None,
        task_type="CAUSAL_LM",
        **of_experts(chosen, model=model, rank=lora.r),
    )


def targets(lora: Settings, profile: ModelProfile, *, model: PreTrainedModel) -> Targets:
    """Return what adapters go on: `lora.targets`, else what the profile or the model says.

    `lora.targets` is matched against the names of modules and of fused experts.
    """
    if lora.targets is None:
        return structure.targets(model, profile)
    if lora.targets == ALL_LINEAR:
        return Targets(ALL_LINEAR, [])
    experts = structure.fused_experts(model)
    return Targets(lora.targets, [name for name in experts if re.fullmatch(lora.targets, name)])


def dropout(lora: Settings, *, experts: bool) -> float:
    """Return the dropout of adapters: 0.05 by default, 0 where fused experts have adapters.

    Raises:
        ConfigError: another one is set for fused experts, on which peft 0.21 puts none.
    """
    if not experts:
        return 0.05 if lora.dropout is None else lora.dropout
    if lora.dropout:
        raise ConfigError(
            f"lora.dropout={lora.dropout:g}: the adapters of fused experts cannot have dropout",
            hint="set lora.dropout=0, or name other modules in lora.targets",
        )
    return 0.0


def of_experts(chosen: Targets, *, model: PreTrainedModel, rank: int) -> dict[str, Any]:
    """Return the arguments of peft's `LoraConfig` for the fused experts among the targets.

    The rank of an expert is that of the other adapters, divided by the number of experts that a
    token visits: adapters then are the same share of the weights everywhere (Schulman et al. 2025,
    "LoRA Without Regret", thinkingmachines.ai/blog/lora).
    """
    if not chosen.parameters:
        return {}
    visited = model.config.get_text_config().num_experts_per_tok
    each = max(1, rank // visited)
    return {
        "target_parameters": chosen.parameters,
        "rank_pattern": {re.escape(name): each for name in chosen.parameters},
    }


def vision_linears(model: PreTrainedModel, profile: ModelProfile) -> list[str]:
    """Return the names of the linear layers of the vision tower."""
    tower = f"{structure.tower(model, profile)}."
    return [
        name
        for name, module in model.named_modules()
        if name.startswith(tower) and isinstance(module, nn.Linear)
    ]
