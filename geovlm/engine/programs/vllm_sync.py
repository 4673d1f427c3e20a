"""Checks that vLLM answers as transformers does, with the built-in model and TRL's sync.

GRPO with vLLM samples from vLLM's copy of the model. Where a prompt, an image or a weight does not
reach it as it should, GRPO trains on completions of another model, without an error. So prompts
with no, one and two images are asked, weights of every kind are changed and synced, and so is an
adapter; each time the log-probabilities that vLLM reports are compared with those of transformers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from accelerate import Accelerator
from PIL import Image

from geovlm.config.model import source
from geovlm.config.schema import LoraConfig, RunConfig
from geovlm.engine.generation.generate import image_tokens
from geovlm.engine.models import adapters, load
from geovlm.engine.rows import rendering
from geovlm.engine.training.agreement import TOLERANCES
from geovlm.errors import RunFailedError
from geovlm.plugins.registry import load as load_registry

NOISE = 0.1
"""Standard deviation of a change, relative to the root mean square of the weights. A larger one
makes answers that depend on the last bits."""
LIMITS = {**TOLERANCES, torch.float32: 1e-4}
"""Largest mean difference of log-probabilities of a prompt, nats per token; 6e-6 is measured in
float32, with tokens of images left out on both sides."""
TOKENS = 16
SIDES_PX = ((84, 84), (126, 56))
"""Sizes of the images; the built-in model resizes neither."""
KINDS: Mapping[str, Callable[[str], bool]] = {
    "norms": lambda name: "norm" in name or "ln_q" in name,
    "embeddings and the tied head": lambda name: "embed_tokens" in name or "lm_head" in name,
    "attention": lambda name: "self_attn" in name,
    "feed-forward layers": lambda name: ".mlp." in name and "visual" not in name,
    "vision tower": lambda name: "visual.blocks" in name or "patch_embed" in name,
    "projection of images": lambda name: "merger" in name,
}
"""Kind of weights -> whether a parameter is one of them."""


class Question(NamedTuple):
    """A prompt as trainer and vLLM take it."""

    name: str
    ids: list[int]
    """Its tokens with those of images."""
    unexpanded: list[int]
    """Its tokens with one placeholder per image."""
    images: list[Any] | None
    inputs: Mapping[str, torch.Tensor]
    """Inputs that the processor made of the images."""
    never: Sequence[int] = ()
    """Tokens that vLLM never writes, so its log-probabilities are of the other tokens alone."""


class Part(NamedTuple):
    """One thing that was compared."""

    name: str
    problem: str
    """Faults; empty if all is in order."""
    apart: float | None = None
    """Largest mean difference of log-probabilities of a prompt, nats per token."""
    from_old: float | None = None
    """The same from the weights before the change."""


class Generation(Protocol):
    """The part of `geovlm.engine.training.trl_vllm.Generation` that is used."""

    unexpanded: list[list[int]]
    model: Any

    def sync_weights(self) -> None:
        """Send the model's weights to vLLM."""

    def generate(self, prompts: Any, images: Any, num_generations: int) -> Any:
        """Return prompt ids, completion ids, log-probabilities and their token ids."""


def check(folder: Path, *, on_cpu: bool) -> list[Part]:
    """Start vLLM with the built-in model in this process and compare."""
    from geovlm.engine.training import trl_vllm

    config = RunConfig(device="cpu" if on_cpu else "cuda", lora=LoraConfig(r=4, vision=True))
    loaded = load.load(source(config.model), config, registry=load_registry(), to_train=True)
    processor: Any = loaded.processor
    loaded.model.eval()
    generation = trl_vllm.Generation(
        options=trl_vllm.Options(
            weights=source(config.model), dtype=loaded.model.dtype, on_cpu=on_cpu, timeout_s=60.0
        ),
        model=loaded.model,
        accelerator=Accelerator(project_dir=str(folder), cpu=on_cpu),
        processing_class=processor,
        mode="colocate",
        gpu_memory_utilization=0.3,
        max_model_length=256,
        max_num_seqs=4,
        max_completion_length=TOKENS,
        temperature=1.0,
        generation_kwargs={"logit_bias": dict.fromkeys(image_tokens(processor) or [], -100.0)},
    )
    asked = questions(processor)
    return [
        *compare(loaded.model, generation, asked),
        adapter(loaded, generation, asked, config=config),
    ]


def questions(processor: Any) -> list[Question]:
    """Return the same question about no, one and two images of coarse noise."""
    generator = torch.Generator().manual_seed(0)
    pictures = [
        Image.fromarray(
            torch.randint(0, 256, (4, 4, 3), generator=generator, dtype=torch.uint8).numpy()
        ).resize(size, Image.Resampling.BICUBIC)
        for size in SIDES_PX
    ]
    made = []
    for name, images in (("text", []), ("one image", pictures[:1]), ("two images", pictures)):
        said = rendering.messages("Which colour is the tile?", images=len(images))
        text = rendering.prompt(processor, said)
        plain = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        inputs: Any = {"input_ids": torch.tensor([plain])}
        if images:
            inputs = processor(
                text=[text], images=[images], add_special_tokens=False, return_tensors="pt"
            )
        ids = inputs["input_ids"][0].tolist()
        kept = {k: v for k, v in inputs.items() if k in ("pixel_values", "image_grid_thw")}
        never = image_tokens(processor) or []
        made.append(Question(name, ids, plain, images or None, kept, never))
    return made


def compare(trained: Any, generation: Generation, asked: Sequence[Question]) -> list[Part]:
    """Compare prompts, then weights of every kind, which are changed in `trained` and synced."""
    parts = []
    for question in asked:
        parts.append(_part(question.name, trained, None, generation, [question]))
    for kind, belongs in KINDS.items():
        chosen = [each for name, each in trained.named_parameters() if belongs(name)]
        if chosen:
            old = copy.deepcopy(trained)
            _disturb(chosen)
            parts.append(_part(f"changed {kind}", trained, old, generation, asked))
            trained.load_state_dict(old.state_dict())
    return parts


def adapter(
    loaded: load.Loaded, generation: Generation, asked: Sequence[Question], *, config: RunConfig
) -> Part:
    """Compare an adapter on all layers, whose sync merges it."""
    from peft import get_peft_model

    chosen = adapters.of_run(config, loaded.profile, model=loaded.model)
    assert chosen is not None
    trained: Any = get_peft_model(loaded.model, chosen).eval()
    old = copy.deepcopy(trained)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, each in trained.named_parameters():
            if "lora_B" in name:  # zero at the start
                each.normal_(std=0.005)  # a tenth of the weights, once it is scaled
    generation.model = trained
    return _part("LoRA adapter", trained, old, generation, asked)


def _disturb(chosen: Sequence[torch.Tensor]) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in chosen:
            spread = weight.float().square().mean().sqrt()
            weight += (torch.randn_like(weight) * (NOISE * spread)).to(weight.dtype)


def _part(
    name: str, trained: Any, old: Any, generation: Generation, asked: Sequence[Question]
) -> Part:
    """Sync, ask and compare, with the weights before the change too if there are any."""
    limit = LIMITS[trained.dtype]
    new_apart, old_apart = [], []
    try:
        generation.sync_weights()
        for question in asked:
            generation.unexpanded = [question.unexpanded]
            images = None if question.images is None else [question.images]
            _, completions, logprobs, _ = generation.generate([question.ids], images, 1)
            reported = torch.tensor([token[0] for token in logprobs[0]])
            completion = list(completions[0])
            new_apart.append(_difference(trained, question, completion, reported))
            if old is not None:
                old_apart.append(_difference(old, question, completion, reported))
    except RunFailedError as error:
        return Part(name, str(error.args[0]))
    apart, from_old = max(new_apart), max(old_apart, default=None)
    if apart > limit:
        problem = f"log-probabilities are {apart:.2g} apart per token, the limit is {limit:g}"
        if from_old is not None and from_old < apart:
            problem += f"; they are {from_old:.2g} from those of the old weights"
        return Part(name, problem, apart, from_old)
    if from_old is not None and from_old <= limit:
        return Part(name, "the change does not show in the answers", apart, from_old)
    return Part(name, "", apart, from_old)


def _difference(
    one: Any, question: Question, completion: list[int], reported: torch.Tensor
) -> float:
    ids = torch.tensor([question.ids + completion], device=one.device)
    images = {name: each.to(one.device) for name, each in question.inputs.items()}
    kinds = (ids == one.config.image_token_id).long()
    with torch.no_grad():
        logits = (
            one(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                mm_token_type_ids=kinds,
                **images,
            )
            .logits[0]
            .float()
        )
    start = len(question.ids)
    logits[:, list(question.never)] = -torch.inf
    chosen = logits.log_softmax(-1)[start - 1 : -1].gather(1, ids[0, start:, None])
    return float((chosen[:, 0].cpu() - reported).abs().mean())
