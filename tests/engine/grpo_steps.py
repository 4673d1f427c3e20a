"""Whole GRPO steps with and without what is shared, of any model with its processor."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
from datasets import Dataset
from PIL import Image
from torch import Tensor
from transformers import AutoModelForImageTextToText, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from geovlm.engine.speedups import trial
from geovlm.engine.speedups.grpo_trainer import UNPADDED, GroupTrainer

GENERATIONS = 4
LONGEST = 7
"""Tokens of the longest completion."""
ASKED = [([(84, 56), (56, 112)], "Has it changed?"), ([(56, 84), (56, 56)], "How many? " * 6)]
"""Sizes of the images (width, height) and question of each prompt."""


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What a training has computed."""

    gradients: list[Tensor] = field(default_factory=list)
    """Gradient of all trained weights, one of each optimiser step."""
    log_probs: list[Tensor] = field(default_factory=list)
    """Log-probabilities of the completions' tokens, of each pass with a gradient."""
    completions: list[list[int]] = field(default_factory=list)
    logged: list[dict[str, float]] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    """Rows of each pass through the decoder with a gradient."""


def tower_of(model: Any) -> Any:
    config = model.config.vision_config
    return next(each for each in model.modules() if getattr(each, "config", None) is config)


def images(scale: int) -> list[list[Image.Image]]:
    """Return noise of the sizes of `ASKED`, whose unit of 28 px becomes `scale`."""
    rng = np.random.default_rng(0)
    return [
        [
            Image.fromarray(
                rng.integers(0, 256, (h * scale // 28, w * scale // 28, 3), dtype=np.uint8)
            )
            for w, h in sizes
        ]
        for sizes, _ in ASKED
    ]


class _Watch(TrainerCallback):
    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        parts = [p.grad.flatten() for p in kwargs["model"].parameters() if p.grad is not None]
        self._steps.gradients.append(torch.cat(parts).clone())

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        self._steps.logged.append(dict(logs))


def trained(
    folder: Path,
    processor: Any,
    *,
    shared: bool,
    scale: int = 28,
    lora: bool = False,
    checkpointing: bool = False,
    asked: Sequence[int] = (0, 1),
) -> Steps:
    """Train the model of a folder: TRL's own way, or with all that can be shared.

    Each generation is trained on twice, so that the second step has ratios other than 1; a large
    step size makes some of them leave the range of clipping. A quarter of all tokens end a
    completion: lengths differ, and some are a single token.
    """
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    if shared:
        tower = tower_of(model)
        speedups = trial.find(model, processor, tower=tower, side=scale, share_images=True)
        assert speedups.images is not None, speedups.notes
    found = Steps()

    def reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
        found.completions.extend(completion_ids)
        return [float(sum(ids) % 7) for ids in completion_ids]

    rows = [
        {"prompt": [{"role": "user", "content": ASKED[i][1]}], "images": images(scale)[i]}
        for i in asked
    ]
    adapter = peft.LoraConfig(
        r=2, target_modules=["q_proj", "v_proj"], lora_alpha=8, init_lora_weights=False
    )
    torch.manual_seed(0)
    cls: Any = GroupTrainer if shared else GRPOTrainer
    has_router = hasattr(model.config.get_text_config(), "output_router_logits")
    trainer = cls(
        model=model,
        reward_funcs=[reward],
        args=GRPOConfig(
            output_dir=tempfile.mkdtemp(),
            max_steps=2,
            per_device_train_batch_size=GENERATIONS * len(rows),
            num_generations=GENERATIONS,
            num_iterations=2,
            max_completion_length=LONGEST,
            beta=0.04,
            learning_rate=0.3,
            lr_scheduler_type="constant",
            max_grad_norm=0.0,
            optim="sgd",
            gradient_checkpointing=checkpointing,
            router_aux_loss_coef=0.0 if has_router else None,
            # Gemma 4's processor pads a batch, and TRL takes the padding for a part of the prompt
            chat_template_kwargs=dict(UNPADDED),
            logging_steps=1,
            use_cpu=True,
            bf16=False,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=processor,
        peft_config=adapter if lora else None,
        callbacks=[_Watch(found)],
    )
    if trainer.ref_model is None and not lora:
        raise AssertionError("the term of the reference needs one")
    ends = list(range(0, model.config.get_text_config().vocab_size, 4))
    trainer.eos_token_ids = trainer.generation_config.eos_token_id = ends
    _watch_passes(trainer, found)
    torch.manual_seed(0)
    trainer.train()
    return found


def _watch_passes(trainer: Any, found: Steps) -> None:
    """Note what the passes with a gradient give, and how many rows the decoder gets."""
    scored = trainer._get_per_token_logps_and_entropies

    def noted(*args: Any, **kwargs: Any) -> Any:
        output = scored(*args, **kwargs)
        if torch.is_grad_enabled():
            found.log_probs.append(output[0].detach().clone())
        return output

    trainer._get_per_token_logps_and_entropies = noted
    trainer.accelerator.unwrap_model(trainer.model).get_decoder().register_forward_pre_hook(
        lambda _, args, kwargs: (
            found.rows.append(len(kwargs["inputs_embeds"])) if torch.is_grad_enabled() else None
        ),
        with_kwargs=True,
    )


def error(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Return the largest difference of tensors, as a share of each one's largest entry."""
    return max(
        float((one - other).abs().max() / other.abs().max())
        for one, other in zip(found, expected, strict=True)
    )
