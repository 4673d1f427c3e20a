"""Puts LoRA adapters on a model: which weights they go on, and with which rank."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from peft import LoraConfig
from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers
from torch import nn
from transformers import PreTrainedModel

from geovlm.api import ModelProfile
from geovlm.config.schema import LoraConfig as Settings
from geovlm.config.schema import RunConfig
from geovlm.engine.models import structure
from geovlm.engine.models.structure import Targets
from geovlm.errors import ConfigError

_NOISE = 0.1
"""Standard deviation of adapter weights B in a check."""
_ROUNDING = 1e-4
"""Largest relative difference of logits that counts as none."""
ALL_LINEAR = "all-linear"
"""peft's word for every linear layer but the head."""


def of_run(
    config: RunConfig, profile: ModelProfile, *, model: PreTrainedModel, freeze_vision: bool = False
) -> LoraConfig | None:
    """Return the adapter of the run, or `None` for full fine-tuning.

    With `freeze_vision` it has no targets within the vision tower of the model.

    Raises:
        ConfigError: `lora.targets` matches nothing; dropout is set and fused experts have adapters.
    """
    lora = config.lora
    if lora is None:
        return None
    modules, parameters = targets(lora, profile, model=model)
    tower = structure.tower(model, profile)
    if freeze_vision:
        modules = [name for name in modules if not name.startswith(f"{tower}.")]
    elif lora.vision:
        modules = modules + [name for name in vision_linears(model, profile) if name not in modules]
    chosen = as_peft_takes(Targets(modules, parameters), model=model)
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # a float will do
        lora_dropout=dropout(lora, experts=bool(chosen.parameters)),
        target_modules=chosen.modules,
        target_parameters=chosen.parameters or None,
        rank_pattern=expert_ranks(parameters, model=model, rank=lora.r),
        task_type="CAUSAL_LM",
    )


def targets(lora: Settings, profile: ModelProfile, *, model: PreTrainedModel) -> Targets:
    """Return what adapters go on: `lora.targets`, else what the profile says, else the model.

    An expression is matched against the whole names of modules and of fused experts.

    Raises:
        ConfigError: nothing matches.
    """
    wanted = lora.targets or profile.lora_targets
    if wanted is None:
        return structure.targets(model)
    names = [name for name, _ in model.named_modules()]
    if wanted == ALL_LINEAR:
        head = model.get_output_embeddings()
        return Targets([name for name in _linears(model) if model.get_submodule(name) != head], [])
    found = Targets(
        [name for name in names if re.fullmatch(wanted, name)],
        [name for name in structure.fused_experts(model) if re.fullmatch(wanted, name)],
    )
    if found == ([], []):
        key = "lora.targets" if lora.targets else f"lora_targets of profile {profile.name!r}"
        raise ConfigError(
            f"{key}={wanted!r} matches no module of {type(model).__name__}",
            hint="it is matched against whole names, such as "
            f"{structure.targets(model).modules[0]!r}",
        )
    return found


def as_peft_takes(chosen: Targets, *, model: PreTrainedModel) -> Targets:
    """Return the same targets under names that peft puts adapters on.

    For some mixtures of experts peft 0.21 reads `gate_proj`, `up_proj` and `down_proj` as names of
    experts from before transformers 5, and would leave out the linear layers of these names, as in
    GLM-4.5V's shared experts. Their weights are named as parameters instead.
    """
    if not chosen.modules:
        return chosen
    probe = LoraConfig(target_modules=chosen.modules)
    convert_peft_config_for_transformers(probe, model, None)
    kept = set(probe.target_modules or ())
    renamed = [f"{name}.weight" for name in chosen.modules if name not in kept]
    modules = [name for name in chosen.modules if name in kept]
    return Targets(modules, chosen.parameters + renamed)


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


def expert_ranks(experts: Sequence[str], *, model: PreTrainedModel, rank: int) -> dict[str, int]:
    """Return the ranks of the adapters of fused experts, by expressions over their names.

    It is the rank of the other adapters, divided by the number of experts that a token visits:
    adapters then are the same share of the weights everywhere (Schulman et al. 2025, "LoRA Without
    Regret", thinkingmachines.ai/blog/lora).
    """
    if not experts:
        return {}
    each = max(1, rank // structure.experts_visited(model))
    return {re.escape(name): each for name in experts}


def effect(model: Any, inputs: Mapping[str, Any], *, seed: int = 0) -> float:
    """Return the change of the logits by noise in the adapters, relative to the largest logit.

    Adapters start without an effect, as B is zero: B is noise for one forward pass of the inputs
    and gets its own values back, to the bit. The state of torch's random generators stays too.
    """
    weights = [weight for name, weight in model.named_parameters() if ".lora_B." in name]
    own = [weight.detach().clone() for weight in weights]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            before = model(**inputs, use_cache=False).logits
            for weight in weights:
                noise = torch.Generator(weight.device).manual_seed(seed)
                weight.normal_(std=_NOISE, generator=noise)
            after = model(**inputs, use_cache=False).logits
    finally:
        with torch.no_grad():
            for weight, values in zip(weights, own, strict=True):
                weight.copy_(values)
        model.train(was_training)
    return float((after - before).abs().max() / before.abs().max())


def check_effect(model: Any, inputs: Mapping[str, Any]) -> None:
    """Refuse adapters that leave the output of the model as it is.

    Raises:
        ConfigError: names the model and the key.
    """
    # two passes over the same weights may differ in rounding on a GPU; not a number is a change
    if effect(model, inputs) <= _ROUNDING:
        base = type(model.get_base_model()).__name__
        raise ConfigError(
            f"the adapters do not change the output of {base}, so nothing would be learned",
            hint="name other modules in lora.targets, or train without [lora]",
        )


def vision_linears(model: PreTrainedModel, profile: ModelProfile) -> list[str]:
    """Return the names of the linear layers of the vision tower."""
    tower = f"{structure.tower(model, profile)}."
    return [name for name in _linears(model) if name.startswith(tower)]


def _linears(model: PreTrainedModel) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
