"""Training steps of small models whose memory is measured."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
from typing import Literal

import torch
import transformers
from peft import get_peft_model
from trl.trainer.utils import add_fused_lm_head

from geovlm.config.schema import RunConfig
from geovlm.engine.models import adapters as lora
from geovlm.engine.models import load as engine_model
from geovlm.engine.programs import shape as shapes
from geovlm.plan.memory import estimate
from geovlm.plan.memory.parts import Adapter, Placement, Work
from geovlm.plugins import profiles
from tests.engine.peak import Peak

PROFILE = profiles.QWEN2_5_VL


def middle() -> transformers.Qwen2_5_VLConfig:
    """A Qwen2.5-VL of about 50 M parameters."""
    return configured(
        text={
            "hidden_size": 512,
            "num_hidden_layers": 8,
            "intermediate_size": 1408,
            "num_attention_heads": 8,
            "num_key_value_heads": 2,
            "vocab_size": 32_000,
        },
        vision={"depth": 6, "hidden_size": 320, "intermediate_size": 864, "num_heads": 4},
    )


def configured(
    *, text: dict[str, object], vision: dict[str, object]
) -> transformers.Qwen2_5_VLConfig:
    head = int(text["hidden_size"]) // int(text["num_attention_heads"])  # type: ignore[call-overload]
    rope = {
        "rope_type": "default",
        "rope_theta": 1e6,
        "mrope_section": [head // 8, 3 * head // 16, 3 * head // 16],
    }
    vision = {**vision, "out_hidden_size": text["hidden_size"], "fullatt_block_indexes": [1]}
    return transformers.Qwen2_5_VLConfig(
        text_config={**text, "rope_parameters": rope, "pad_token_id": None},
        vision_config=vision,
        image_token_id=400,
        vision_start_token_id=401,
        video_token_id=402,
        tie_word_embeddings=True,
    )


def measured(
    config: transformers.PretrainedConfig,
    *,
    rows: int,
    text_tokens: int,
    side: int,
    checkpointing: bool,
    adapters: bool,
    device: Literal["cpu", "cuda"] = "cpu",
) -> tuple[float, float]:
    """Bytes at the peak of a step: as allocated, and as estimated.

    On the CPU in float32; on a GPU in bfloat16, by torch's own count, without the CUDA context.
    """
    gc.collect()
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    with torch.device(device):
        model = transformers.AutoModelForImageTextToText.from_config(config, dtype=dtype)
    patch = config.vision_config.patch_size
    profile = dataclasses.replace(PROFILE, size_factor=2 * patch)
    shape = shapes.of_model(model, profile)
    add_fused_lm_head(model)
    run = RunConfig.model_validate({"lora": {"r": 8} if adapters else None})
    adapter = None
    if run.lora is not None:
        model = get_peft_model(model, lora.of_run(run, profile, model=model))
        adapter = Adapter(rank=8)
    if checkpointing:
        model.gradient_checkpointing_enable()
        if adapters:
            model.enable_input_require_grads()
    base = model.get_base_model() if adapters else model
    engine_model.skip_frozen_vision(base, profile)
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    patches = side // patch
    cells = (patches // 2) ** 2
    ids = torch.randint(0, 300, (rows, cells + text_tokens))
    ids[:, 1 : 1 + cells] = config.image_token_id
    batch = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.randn(rows * patches**2, 3 * 2 * patch**2, dtype=dtype),
        "image_grid_thw": torch.tensor([[1, patches, patches]] * rows),
        "mm_token_type_ids": (ids == config.image_token_id).long(),
        "labels": ids.masked_fill(ids == config.image_token_id, -100),
    }
    batch = {name: value.to(device) for name, value in batch.items()}
    counted = Peak()
    for parameter in model.parameters():
        counted.add(parameter)
    with counted if device == "cpu" else contextlib.nullcontext():
        for _ in range(2):
            counted.peak = counted.now
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                loss = model(**batch, fused_lm_head=True).loss
            loss.backward()
            del loss
            optimizer.step()
            optimizer.zero_grad()
    real = counted.peak if device == "cpu" else torch.cuda.max_memory_allocated()
    work = Work(
        kind="sft",
        batch=rows,
        cells=cells,
        prompt_tokens=cells + text_tokens,
        answer_tokens=text_tokens,
        checkpointing=checkpointing,
        accumulates=False,
    )
    estimated = estimate.estimate(shape, work, Placement(device=device), adapter=adapter)
    said = estimated.total - estimated.context
    print(f"{real / 1e6:.1f} MB allocated, {said / 1e6:.1f} MB estimated")
    return real, said
