"""Loads models and processors from a name or folder, and saves them to a folder."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    PretrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
)

from geovlm.api import ModelProfile
from geovlm.config.model import framed, no_chat_template, profile_of, source
from geovlm.config.schema import RunConfig
from geovlm.engine.models import limits, quantize, sizes, structure
from geovlm.engine.models.processor import load_processor, save_processor, take_as_sized
from geovlm.engine.rows.rendering import Chat
from geovlm.engine.speedups import trial
from geovlm.engine.speedups.trial import Speedups
from geovlm.errors import ConfigError
from geovlm.plugins.registry import Registry


class Loaded(NamedTuple):
    """A model with all that belongs to it."""

    model: PreTrainedModel
    processor: ProcessorMixin
    profile: ModelProfile
    """The family's profile, with the pixel limits of this processor."""
    speedups: Speedups
    """Those of its vision tower, enabled."""

    @property
    def chat(self) -> Chat:
        """Text that the chat template writes around an answer, and tokens that end one."""
        return Chat.of(self.processor, stops=self.model.generation_config.eos_token_id)


def load_config(config: RunConfig) -> PretrainedConfig:
    """Return the configuration of the run's model.

    Raises:
        ConfigError: the checkpoint cannot be found.
    """
    with _found(config):
        return AutoConfig.from_pretrained(
            source(config.model),
            revision=config.revision,
            trust_remote_code=config.trust_remote_code,
        )


def load_reader(
    path: str, config: RunConfig, *, registry: Registry
) -> tuple[ProcessorMixin, ModelProfile]:
    """Load the processor of a model and its family's profile with the processor's pixel limits.

    `min_pixels` and `max_pixels` of the run override the checkpoint's own. Where `boxes.input_size`
    gives the size of the resize, `ImageCache` resizes and the processor leaves the image as it is.
    A second resize would change it again where the limits are close together, as 600 x 400 px
    becomes 532 x 364 and then 560 x 392 with both limits at 200,704.

    Raises:
        ConfigError: the run's model cannot be found, or its processor not be loaded or limited.
        UnknownNameError: no plugin knows its family.
    """
    profile = framed(profile_of(_settings(config), registry=registry), config)
    processor = load_processor(
        path,
        min_pixels=config.min_pixels,
        max_pixels=config.max_pixels,
        revision=config.revision if path == config.model else None,
        trust_remote_code=config.trust_remote_code,
        cache_patches=config.share_images,
        template_values=config.chat_template_kwargs,
    )
    if not processor.chat_template:
        raise no_chat_template(config.model)
    limits.require_whole(
        processor.image_processor,  # type: ignore[attr-defined]  # a mixin's field
        boxed=profile.box_frame is not None,
        name=profile.name,
    )
    if profile.resize == "multiples":
        take_as_sized(processor)
    profile = sizes.bind(profile, processor, load_config(config))
    return processor, profile


def load(
    path: str,
    config: RunConfig,
    *,
    registry: Registry,
    place: str | None = None,
    to_train: bool = False,
) -> Loaded:
    """Load model, processor and profile from a folder or hub name.

    `place` is the device of the run by default; `to_train` reads the weights in 4 bits with QLoRA.
    """
    processor, profile = load_reader(path, config, registry=registry)
    options: dict[str, Any] = {
        "dtype": torch.float32 if device(config) == "cpu" else torch.bfloat16,
        "revision": config.revision if path == config.model else None,
        "trust_remote_code": config.trust_remote_code,
    }
    if to_train and config.lora is not None and config.lora.quantize != "none":
        options |= quantize.options(path, profile, common=options, device=device(config))
    model = AutoModelForImageTextToText.from_pretrained(path, **options)
    if "quantization_config" not in options:
        # a decorated method
        model.to(torch.device(place or device(config)))  # type: ignore[arg-type]
    structure.drop_router_logits(model)
    for name in structure.other_towers(model):
        model.get_submodule(name).requires_grad_(False)
    # what ends a completion in GRPO, which adds the tokenizer's own, ends it everywhere
    chat = Chat.of(processor, stops=model.generation_config.eos_token_id)
    model.generation_config.eos_token_id = list(chat.stops)
    speedups = trial.find(
        model,
        processor,
        tower=model.get_submodule(structure.tower(model, profile)),
        side=profile.size_factor,
        share_images=config.share_images,
    )
    return Loaded(model=model, processor=processor, profile=profile, speedups=speedups)


def _settings(config: RunConfig) -> dict[str, Any]:
    """Return what `config.json` of the run's model states; no class of transformers must exist."""
    with _found(config):
        return PretrainedConfig.get_config_dict(source(config.model), revision=config.revision)[0]


@contextlib.contextmanager
def _found(config: RunConfig) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"model {config.model!r} cannot be loaded: {str(error).splitlines()[0]}",
            hint="give a folder with config.json, a hub name that is in the local cache, or 'nano'",
        ) from error


def free() -> None:
    """Free the memory of models without references.

    `trial.find` makes models refer to themselves, so only a collection frees them.
    """
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def device(config: RunConfig) -> str:
    """Return `cuda` or `cpu`: the run's `device`; for `auto` the GPU if there is one."""
    if config.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return config.device


def max_positions(config: PretrainedConfig, tokenizer: Any) -> int:
    """Return the longest sequence that a model of this configuration and tokenizer take, tokens."""
    text = config.get_text_config()
    return int(min(text.max_position_embeddings, tokenizer.model_max_length))


def freeze_vision(model: PreTrainedModel, profile: ModelProfile) -> None:
    """Exclude the weights of the vision tower from training."""
    model.get_submodule(structure.tower(model, profile)).requires_grad_(False)


def skip_frozen_vision(model: PreTrainedModel, profile: ModelProfile) -> None:
    """Run a vision tower without trained weights outside of the backward pass.

    With gradient checkpointing and adapters, TRL makes the inputs of all parts require gradients;
    the backward pass would go through the whole tower without an effect.
    """
    tower = model.get_submodule(structure.tower(model, profile))
    if not any(parameter.requires_grad for parameter in tower.parameters()):
        tower.forward = torch.no_grad()(tower.forward)


def save(model: Any, processor: Any, folder: Path) -> None:
    """Write a complete model folder, LoRA merged, under a temporary name, then move it in place."""
    for left in folder.parent.glob(f".{folder.name}-*"):  # by a killed process
        shutil.rmtree(left)
    scratch = folder.with_name(f".{folder.name}-{os.getpid()}")
    try:
        if quantize.is_quantized(model):
            merged = quantize.merged(model, scratch=scratch)
        else:
            merged = model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
        merged.save_pretrained(scratch)
        save_processor(processor, scratch)
        shutil.rmtree(folder, ignore_errors=True)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)  # a full disk needs its space back
