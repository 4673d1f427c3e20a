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
from geovlm.config.schema import LoraConfig as Settings
from geovlm.engine.models import adapters, quantize, sizes, structure
from geovlm.engine.models.processor import load_processor
from geovlm.engine.models.structure import Targets
from geovlm.engine.programs.main import run
from geovlm.errors import ConfigError
from geovlm.files.jsontext import dumps
from geovlm.plan.memory.parts import ModelShape, Stack


def empty(config: Any) -> PreTrainedModel:
    """Return the model of a config on the meta device: shapes without memory."""
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(config)


def of_model(
    model: PreTrainedModel,
    profile: ModelProfile,
    *,
    lora: Settings | None = None,
    patches_per_token: float | None = None,
) -> ModelShape:
    """Return the shape of a model, which may be on the meta device, and is left as it was.

    `lora` chooses the targets of adapters, and by default the model does. `patches_per_token` is
    that of a processor that resizes images by itself; `None`: the profile's sizes give it.

    Raises:
        ConfigError: the tower or the decoder is not found, or adapters cannot be as `lora` says.
        ValueError: of peft: a module that `lora.targets` takes is of a kind without adapters.
    """
    lora = lora or Settings()
    chosen = adapters.targets(lora, profile, model=model)
    adapters.dropout(lora, experts=bool(chosen.parameters))
    text = model.config.get_text_config()
    vision = model.get_submodule(structure.tower(model, profile))
    _, layers = structure.decoder_layers(model)
    weights = dict(model.named_parameters())
    heads = text.num_attention_heads
    head_size = getattr(text, "head_dim", None) or text.hidden_size // heads
    visited = structure.experts_visited(model)
    cell = (profile.size_factor / patch_of(model.config)) ** 2
    tokens = int(getattr(model.config, "image_seq_length", None) or 1)
    if patches_per_token is not None:
        cell, tokens = patches_per_token, 1
    return ModelShape(
        parameters=structure.count(model),
        vision_parameters=structure.count(vision),
        quantizable=sum(weights[f"{name}.weight"].numel() for name in quantize.linears(model)),
        text=Stack(
            layers=text.num_hidden_layers,
            width=text.hidden_size,
            inner=_inner(text, visited=visited),
            gated=True,
            keys_width=(text.num_key_value_heads or heads) * head_size,
            parameters=structure.count(layers),
        ),
        vision=_stack(vision),
        vocabulary=text.vocab_size,
        adapter_weights=_adapter_weights(model, chosen.modules),
        adapter_weights_experts=sum(
            weights[name].shape[0] * sum(weights[name].shape[1:]) for name in chosen.parameters
        ),
        adapter_weights_vision=_adapter_weights(model, adapters.vision_linears(model, profile)),
        adapted=_adapted(model, chosen),
        experts_adapted=sum(weights[name].numel() for name in chosen.parameters),
        other_parameters=sum(
            structure.count(model.get_submodule(name)) for name in structure.other_towers(model)
        ),
        experts=sum(weights[name].numel() for name in structure.fused_experts(model)),
        experts_visited=visited,
        patches_per_cell=cell,
        tokens_per_cell=tokens,
    )


def patch_of(config: Any) -> int:
    """Return the side of a patch of the vision tower, pixels."""
    patch = config.vision_config.patch_size
    return int(patch if isinstance(patch, int) else patch[0])


def _stack(tower: torch.nn.Module) -> Stack:
    """Return the blocks of a vision tower; configs name them in different ways."""
    blocks = max(
        (m for m in tower.modules() if isinstance(m, torch.nn.ModuleList)), key=structure.count
    )
    linears = [module for module in blocks[0].modules() if isinstance(module, torch.nn.Linear)]
    width = linears[0].in_features
    inner = linears[-1].in_features  # the feed-forward layer comes last, and ends in this one
    return Stack(
        layers=len(blocks),
        width=width,
        inner=inner,
        gated=sum(each.out_features == inner for each in linears) > 1 and inner != width,
        keys_width=width,
        parameters=structure.count(blocks),
    )


def _inner(text: Any, *, visited: int) -> int:
    """Return the width of the feed-forward layer that a token passes."""
    of_expert = getattr(text, "moe_intermediate_size", None)
    if not of_expert:
        return int(text.intermediate_size)
    shared = getattr(text, "shared_expert_intermediate_size", None)
    shared = shared or (getattr(text, "n_shared_experts", None) or 0) * of_expert
    return int(visited * of_expert + shared)


def _adapted(model: PreTrainedModel, chosen: Targets) -> int:
    """Return the number of weights in the decoder's layers that have an adapter."""
    where, _ = structure.decoder_layers(model)
    weights = dict(model.named_parameters())
    names = [f"{name}.weight" for name in chosen.modules if name.startswith(f"{where}.")]
    return sum(weights[name].numel() for name in names + chosen.parameters if name in weights)


def _adapter_weights(model: PreTrainedModel, modules: list[str]) -> int:
    """Return the number of weights of adapters of rank 1; the model stays as it was."""
    if not modules:
        return 0
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    names, parameters = adapters.as_peft_takes(Targets(modules, []), model=model)
    settings = LoraConfig(r=1, target_modules=names, target_parameters=parameters or None)
    adapted = get_peft_model(model, settings)
    number = sum(p.numel() for name, p in adapted.named_parameters() if ".lora_" in name)
    adapted.unload()
    for parameter in trained:
        parameter.requires_grad_(True)
    return number


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
    lora = Settings(**request["lora"])
    per_token = None
    if profile.resize == "processor":
        processor: Any = load_processor(
            request["source"],
            revision=request["revision"],
            trust_remote_code=request["trust_remote_code"],
        )
        token_id = getattr(config, "image_token_id", None) or processor.image_token_id
        per_token = sizes.patches_per_token(processor, token_id=token_id, patch=patch_of(config))
    try:
        shape = of_model(empty(config), profile, lora=lora, patches_per_token=per_token)
    except ValueError as error:  # of peft: no module has such a name
        raise ConfigError(f"lora.targets: {str(error).splitlines()[0]}") from error
    print(dumps(asdict(shape)))


if __name__ == "__main__":
    sys.exit(main())
