"""Completions of families that cut images into tiles are packed as those of the Qwen families."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from trl import GRPOTrainer
from trl.trainer.utils import add_fused_lm_head

from geovlm.engine.speedups.grpo_trainer import GroupTrainer
from tests.engine.test_trial import a_model

WHICH = [0, 1, 0, 0, 1, 1]
"""Prompt of each row: two images, or one."""
LENGTHS = [5, 1, 4, 2, 3, 5]
TOKEN = 390
TOKENS_PER_TILE = 4


def a_batch(family: str, processor: Any) -> dict[str, Any]:
    """Rows of two prompts, whose images have one or more tiles of 56 px."""
    rng = np.random.default_rng(0)
    sizes = [[(112, 56), (56, 56)], [(56, 112)]]
    images = [
        [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in row]
        for row in sizes
    ]
    fields: dict[str, Any] = {"num_images": [len(images[i]) for i in WHICH]}
    if family == "internvl":
        made = [processor.image_processor(images=row, return_tensors="pt") for row in images]
        tiles = [len(each["pixel_values"]) for each in made]
        fields["pixel_values"] = torch.cat([made[i]["pixel_values"] for i in WHICH])
        fields["num_tiles"] = [tiles[i] for i in WHICH]
    else:
        made = processor.image_processor(images=images, return_tensors="pt")
        tiles = [int(row.flatten(1).any(1).sum()) for row in made["pixel_values"]]
        fields["pixel_values"] = made["pixel_values"][WHICH]
        fields["pixel_attention_mask"] = made["pixel_attention_mask"][WHICH]
    assert tiles[0] != tiles[1]
    prompts = [[5, *[TOKEN] * (TOKENS_PER_TILE * n), 7, 8 + i] for i, n in enumerate(tiles)]
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompts[i])) + prompts[i] for i in WHICH])
    generator = torch.Generator().manual_seed(0)
    completion = torch.randint(20, 200, (len(WHICH), max(LENGTHS)), generator=generator)
    kept = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    return {
        **fields,
        "input_ids": torch.cat([ids, completion * kept], dim=1),
        "attention_mask": torch.cat([(ids > 0).long(), kept.long()], dim=1),
        "logits_to_keep": max(LENGTHS),
    }


@pytest.mark.parametrize("family", ["internvl", "idefics3"])
def test_log_probabilities_and_gradients_are_those_of_trl(family: str) -> None:
    model, processor = a_model(family)
    add_fused_lm_head(model, temperature=0.9, outputs=("log_probs", "entropy"))
    trainer: Any = SimpleNamespace(accelerator=Accelerator(cpu=True), _share_prompt=True)
    trainer._noted = set()
    for name in ("_packs", "_note"):
        setattr(trainer, name, getattr(GroupTrainer, name).__get__(trainer))
    batch = a_batch(family, processor)
    seen: list[int] = []
    model.get_decoder().register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(len(kwargs["inputs_embeds"])), with_kwargs=True
    )

    def measured(cls: Any) -> dict[str, torch.Tensor]:
        model.zero_grad()
        logps, *_ = cls._get_per_token_logps_and_entropies(trainer, model, **batch)
        (logps * torch.linspace(-1, 1, logps.numel()).view_as(logps)).sum().backward()
        gradient = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        return {"logps": logps.detach(), "gradient": torch.cat(gradient)}

    plain, shared = measured(GRPOTrainer), measured(GroupTrainer)
    assert seen == [6, 2]
    for name, value in plain.items():
        assert (shared[name] - value).abs().max() < 1e-5 * value.abs().max(), name
