"""Checks that vLLM gets the trained weights, by TRL's sync on the same GPU with the built-in model.

GRPO with `use_vllm` samples from vLLM's copy of the model. Where the sync fails without an error,
it trains on completions of another model. So the weights are changed and synced by TRL, and the
log-probabilities that vLLM reports are compared with those of transformers.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from accelerate import Accelerator

from geovlm.config.model import source
from geovlm.config.schema import RunConfig
from geovlm.engine.models import load
from geovlm.errors import RunFailedError
from geovlm.plugins.registry import load as load_registry

TOLERANCE = 0.2
"""Mean difference of log-probabilities that two implementations in bfloat16 may have."""
NOISE = 0.3
"""Standard deviation of the change, relative to that of the weights."""
TOKENS = 16


class Synced(NamedTuple):
    """Mean absolute differences of vLLM's log-probabilities, per sampled token."""

    with_new: float
    """From those of transformers with the weights that were synced."""
    with_old: float
    """From those with the weights before."""
    tokens: int


class Generation(Protocol):
    """The part of TRL's `VLLMGeneration` that is used."""

    def sync_weights(self) -> None:
        """Send the model's weights to vLLM."""

    def generate(self, prompts: Any, images: Any, num_generations: int) -> Any:
        """Return prompt ids, completion ids, log-probabilities and their token ids."""


def check(folder: Path) -> Synced:
    """Start vLLM on the GPU of the built-in model and compare.

    Raises:
        RunFailedError: vLLM answers with other weights than those that were synced.
    """
    from trl.generation.vllm_generation import VLLMGeneration

    config = RunConfig(device="cuda")
    loaded = load.load(source(config.model), config, registry=load_registry())
    generation = VLLMGeneration(
        model=loaded.model,
        accelerator=Accelerator(project_dir=str(folder)),
        processing_class=loaded.processor,
        mode="colocate",
        gpu_memory_utilization=0.3,
        max_model_length=256,
        max_num_seqs=1,
        max_completion_length=TOKENS,
        temperature=1.0,
    )
    tokenizer = loaded.processor.tokenizer  # type: ignore[attr-defined]  # a mixin's field
    prompt = tokenizer("Which colour is the tile?")["input_ids"]
    return compare(loaded.model, generation, prompt)


def compare(trained: Any, generation: Generation, prompt: list[int]) -> Synced:
    """Change the weights of `trained`, sync them, and compare vLLM's probabilities.

    Raises:
        RunFailedError: they are not those of the new weights.
    """
    old = copy.deepcopy(trained)
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in trained.parameters():
            noise = torch.randn_like(weight) * (NOISE * weight.float().std(correction=0))
            weight += noise.to(weight.dtype)
    generation.sync_weights()
    _, completions, logprobs, _ = generation.generate([prompt], None, 1)
    reported = torch.tensor([token[0] for token in logprobs[0]])
    synced = Synced(
        with_new=_difference(trained, prompt, list(completions[0]), reported),
        with_old=_difference(old, prompt, list(completions[0]), reported),
        tokens=len(reported),
    )
    if synced.with_new > TOLERANCE or synced.with_new > synced.with_old / 2:
        raise RunFailedError(
            f"vLLM does not answer with the synced weights: its log-probabilities are "
            f"{synced.with_new:.2f} per token from theirs, {synced.with_old:.2f} from the old ones",
            hint="train without use_vllm, or with the tested versions",
        )
    return synced


def _difference(
    one: Any, prompt: list[int], completion: list[int], reported: torch.Tensor
) -> float:
    ids = torch.tensor([prompt + completion], device=one.device)
    with torch.no_grad():
        logits = (
            one(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                mm_token_type_ids=torch.zeros_like(ids),
            )
            .logits[0]
            .float()
        )
    chosen = logits.log_softmax(-1)[len(prompt) - 1 : -1].gather(1, ids[0, len(prompt) :, None])
    return float((chosen[:, 0].cpu() - reported).abs().mean())
