"""Reads the facts about a model that decide about memory, from its config, without its weights.

`python -m geovlm.engine.programs.shape` reads a JSON object on standard input, `request` below, and
writes a `geovlm.plan.memory.parts.ModelShape` as JSON. `geovlm.plan.memory.shape` starts it.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel

from geovlm.api import ModelProfile
from geovlm.engine.models import quantize
from geovlm.engine.models.load import vision_linears
from geovlm.engine.programs.main import run
from geovlm.errors import ConfigError
from geovlm.files.jsontext import dumps
from geovlm.plan.memory.parts import ModelShape, Stack


def empty(config: Any) -> PreTrainedModel:
    """Return the model of a config on the meta device: shapes without memory."""
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(config)


def of_model(model: PreTrainedModel, profile: ModelProfile, *, targets: str | None) -> ModelShape:
    """Return the shape of a model, which may be on the meta device, and is left as it was."""
    text = model.config.get_text_config()
    vision = model.get_submodule(profile.vision_module)
    lists = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList)]
    decoders = set(lists).difference(vision.modules())
    layers = max((m for m in decoders if len(m) == text.num_hidden_layers), key=_count)
    linears = [
        module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and not name.startswith(f"{profile.vision_module}.")
        and quantize.is_decoder(name, profile)
    ]
    heads = text.num_attention_heads
    head_size = getattr(text, "head_dim", None) or text.hidden_size // heads
    experts = getattr(text, "num_experts_per_tok", None) or 0
    inner = experts * text.moe_intermediate_size if experts else text.intermediate_size
    patch = model.config.vision_config.patch_size
    side = patch if isinstance(patch, int) else patch[0]
    return ModelShape(
        parameters=_count(model),
        vision_parameters=_count(vision),
        quantizable=sum(module.weight.numel() for module in linears),
        text=Stack(
            layers=text.num_hidden_layers,
            width=text.hidden_size,
            inner=inner,
            gated=True,
            keys_width=(text.num_key_value_heads or heads) * head_size,
            parameters=_count(layers),
        ),
        vision=_stack(vision),
        vocabulary=text.vocab_size,
        adapter_weights=_adapter_weights(model, targets or profile.lora_targets),
        adapter_weights_vision=_adapter_weights(model, vision_linears(model, profile)),
        patches_per_cell=(profile.size_factor / side) ** 2,
        tokens_per_cell=int(getattr(model.config, "image_seq_length", None) or 1),
    )


def _stack(tower: torch.nn.Module) -> Stack:
    """Return the blocks of a vision tower; configs name them in different ways."""
    blocks = max((m for m in tower.modules() if isinstance(m, torch.nn.ModuleList)), key=_count)
    linears = [module for module in blocks[0].modules() if isinstance(module, torch.nn.Linear)]
    width = linears[0].in_features
    inner = linears[-1].in_features  # the feed-forward layer comes last, and ends in this one
    return Stack(
        layers=len(blocks),
        width=width,
        inner=inner,
        gated=sum(each.out_features == inner for each in linears) > 1 and inner != width,
        keys_width=width,
        parameters=_count(blocks),
    )


def _adapter_weights(model: PreTrainedModel, targets: str | list[str]) -> int:
    """Return the number of weights of adapters of rank 1; the model stays as it was."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    adapted = get_peft_model(model, LoraConfig(r=1, target_modules=targets))
    number = sum(p.numel() for name, p in adapted.named_parameters() if ".lora_" in name)
    adapted.unload()
    for parameter in trained:
        parameter.requires_grad_(True)
    return number


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def main() -> int:
    """Answer the request on standard input; returns the exit status."""
    return run(lambda _: answer(json.load(sys.stdin)), argv=())


def answer(request: dict[str, Any]) -> None:
    """Write the shape of the requested model to standard output.

    Raises:
        ConfigError: the targets of adapters match no module.
    """
    config = AutoConfig.from_pretrained(
        request["source"],
        revision=request["revision"],
        trust_remote_code=request["trust_remote_code"],
    )
    profile = ModelProfile(**request["profile"])
    try:
        shape = of_model(empty(config), profile, targets=request["targets"])
    except ValueError as error:  # of peft: no module has such a name
        raise ConfigError(str(error).splitlines()[0]) from error
    print(dumps(asdict(shape)))


if __name__ == "__main__":
    sys.exit(main())
