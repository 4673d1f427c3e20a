"""Finds the parts of a model by its own configs: vision tower, text decoder, what adapters go on.

The projector between tower and decoder counts as neither. In the Qwen and GLM families it lies
inside the tower and is frozen with it; elsewhere full fine-tuning trains it, adapters leave it as
it was, and `lora.quantize` keeps it in full precision.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from geovlm.api import ModelProfile
from geovlm.errors import ConfigError


class Targets(NamedTuple):
    """The weights that adapters are put on, by whole names."""

    modules: list[str]
    """Modules, linear layers by default."""
    parameters: list[str]
    """Parameters, those of fused experts."""


def tower(model: PreTrainedModel, profile: ModelProfile) -> str:
    """Return the dotted name of the vision tower.

    That is the profile's `vision_module`, else the outermost module whose config is the model's
    `vision_config`.

    Raises:
        ConfigError: the model has no such module.
    """
    kind = type(model).__name__
    if profile.vision_module is not None:
        if profile.vision_module in dict(model.named_modules()):
            return profile.vision_module
        raise ConfigError(
            f"profile {profile.name!r} names the vision tower {profile.vision_module!r}, which "
            f"{kind} does not have",
            hint="leave out vision_module of the profile, and it is found",
        )
    config = getattr(model.config, "vision_config", None)
    found = _outermost(model, config)
    if found is None:
        raise ConfigError(
            f"no module of {kind} has the model's vision_config: its vision tower is not found",
            hint=f"set vision_module of the profile {profile.name!r}, in a plugin's geovlm_profiles"
            " hook",
        )
    return found


def other_towers(model: PreTrainedModel) -> list[str]:
    """Return the names of towers for other inputs than images and text, such as audio."""
    config = model.config
    known = [config.get_text_config(), getattr(config, "vision_config", None)]
    others = [getattr(config, name, None) for name in config.sub_configs]
    others = [each for each in others if not any(each is one for one in known)]
    return [name for each in others if (name := _outermost(model, each)) is not None]


def decoder_layers(model: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """Return the layers of the text decoder, with their dotted name.

    Raises:
        ConfigError: the decoder has no list of layers.
    """
    decoder = model.get_decoder()
    number = model.config.get_text_config().num_hidden_layers
    lists = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == number
    ]
    inside = set(decoder.modules())
    lists = [(name, module) for name, module in lists if module in inside]
    if not lists:
        raise ConfigError(
            f"the text decoder of {type(model).__name__} has no list of {number} layers",
            hint="name the modules that adapters go on in lora.targets",
        )
    return max(lists, key=lambda pair: count(pair[1]))


def targets(model: PreTrainedModel) -> Targets:
    """Return all linear layers and fused experts in the layers of the text decoder.

    Routers stay as they were pre-trained, as in Unsloth ("not a good idea to fine-tune the router
    layer", its guide to Qwen3).
    """
    where, layers = decoder_layers(model)
    experts = _fused(layers)
    routers = _routers(layers, experts)
    linears = [
        f"{where}.{name}"
        for name, module in layers.named_modules()
        if isinstance(module, nn.Linear) and name not in routers
    ]
    return Targets(linears, [f"{where}.{name}" for name in experts])


def fused_experts(model: PreTrainedModel) -> list[str]:
    """Return the names of parameters in the decoder's layers that hold the weights of all experts.

    They have the dimensions experts, output, input.
    """
    where, layers = decoder_layers(model)
    return [f"{where}.{name}" for name in _fused(layers)]


def experts_visited(model: PreTrainedModel) -> int:
    """Return the number of experts that a token visits; 1 for a dense model."""
    text = model.config.get_text_config()
    return int(
        getattr(text, "num_experts_per_tok", None) or getattr(text, "top_k_experts", None) or 1
    )


def drop_router_logits(model: PreTrainedModel) -> None:
    """Make a mixture of experts return no router logits, whatever its config says.

    With them it computes a loss of the routers at every forward pass, which fails in generation.
    """
    text = model.config.get_text_config()
    if getattr(text, "output_router_logits", False):
        text.output_router_logits = False


def count(module: nn.Module) -> int:
    """Return the number of parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def _outermost(model: nn.Module, config: PretrainedConfig | None) -> str | None:
    if config is None:
        return None
    modules = model.named_modules()
    return next((name for name, each in modules if getattr(each, "config", None) is config), None)


def _fused(layers: nn.Module) -> list[str]:
    convolutions = nn.Conv1d, nn.Conv2d, nn.Conv3d  # their weights have three dimensions too
    return [
        f"{place}.{name}"
        for place, module in layers.named_modules()
        if not isinstance(module, convolutions)
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.dim() == 3
    ]


def _routers(layers: nn.Module, experts: list[str]) -> set[str]:
    """Return the linear layers beside fused experts with an output per expert, or one in all.

    Those choose the experts of a token, or weigh the shared one.
    """
    found = set()
    for name in experts:
        outputs = 1, layers.get_parameter(name).shape[0]
        beside = name.rpartition(".")[0].rpartition(".")[0]
        for inner, module in layers.get_submodule(beside).named_modules():
            if isinstance(module, nn.Linear) and module.out_features in outputs:
                found.add(f"{beside}.{inner}")
    return found
