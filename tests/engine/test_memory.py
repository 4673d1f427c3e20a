"""The estimates against what training steps really allocate, and against the libraries' defaults.

Measured is the peak of all tensors that are alive, on the CPU in float32, over one SFT step with
TRL's fused head and AdamW, after a first one. The estimate may be a fifth too small or half too
large: it counts layers, not every operation.
"""

from __future__ import annotations

import dataclasses
import gc

import pytest
import torch
import transformers
from peft import get_peft_model
from trl import GRPOConfig, SFTConfig
from trl.trainer.utils import add_fused_lm_head

from geovlm import memory_estimate, modelfacts, modelshape, nano, plan_memory, profiles, registry
from geovlm.config import RunConfig
from geovlm.engine import model as engine_model
from geovlm.engine import shape as shapes
from geovlm.memory import Adapter, Placement, Work
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
) -> tuple[float, float]:
    """Bytes at the peak of a step: as allocated, and as estimated."""
    gc.collect()
    model = transformers.AutoModelForImageTextToText.from_config(config)
    shape = shapes.of_model(model, PROFILE, targets=None)
    add_fused_lm_head(model)
    run = RunConfig.model_validate({"lora": {"r": 8} if adapters else None})
    adapter = None
    if run.lora is not None:
        model = get_peft_model(model, engine_model.lora(run, PROFILE, model=model))
        adapter = Adapter(rank=8)
    if checkpointing:
        model.gradient_checkpointing_enable()
        if adapters:
            model.enable_input_require_grads()
    base = model.get_base_model() if adapters else model
    engine_model.skip_frozen_vision(base, PROFILE)
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    patches = side // 14
    cells = (patches // 2) ** 2
    ids = torch.randint(0, 300, (rows, cells + text_tokens))
    ids[:, 1 : 1 + cells] = config.image_token_id
    batch = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.randn(rows * patches**2, 3 * 2 * 14 * 14),
        "image_grid_thw": torch.tensor([[1, patches, patches]] * rows),
        "mm_token_type_ids": (ids == config.image_token_id).long(),
        "labels": ids.masked_fill(ids == config.image_token_id, -100),
    }
    counted = Peak()
    for parameter in model.parameters():
        counted.add(parameter)
    with counted:
        for _ in range(2):
            counted.peak = counted.now
            model(**batch, fused_lm_head=True).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    work = Work(
        kind="sft",
        batch=rows,
        cells=cells,
        prompt_tokens=cells + text_tokens,
        answer_tokens=text_tokens,
        checkpointing=checkpointing,
        accumulates=False,
    )
    estimated = memory_estimate.estimate(shape, work, Placement(device="cpu"), adapter=adapter)
    print(f"{counted.peak / 1e6:.1f} MB allocated, {estimated.total / 1e6:.1f} MB estimated")
    return counted.peak, estimated.total


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("adapters", [False, True])
def test_a_step_of_nano_takes_what_is_estimated(checkpointing: bool, adapters: bool) -> None:
    config = transformers.AutoConfig.from_pretrained(nano.path())
    real, said = measured(
        config, rows=8, text_tokens=60, side=84, checkpointing=checkpointing, adapters=adapters
    )
    assert 0.8 * real < said < 1.5 * real


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_of_fifty_million_parameters_takes_what_is_estimated(checkpointing: bool) -> None:
    real, said = measured(
        middle(), rows=4, text_tokens=60, side=112, checkpointing=checkpointing, adapters=False
    )
    assert 0.8 * real < said < 1.5 * real


def test_the_shape_of_nano_is_exact_and_read_in_another_process() -> None:
    config = RunConfig()
    facts = modelfacts.inspect(config, registry=registry.load())
    found = modelshape.inspect(facts, config)
    assert found.parameters == facts.parameters
    assert (found.text.layers, found.text.width, found.text.inner) == (4, 128, 512)
    assert (found.vision.layers, found.vision.width, found.vision.inner) == (2, 128, 512)
    # q, k, v, o: 128 to 128; gate, up, down: 128 to 512 or back
    assert found.adapter_weights == 4 * (4 * 256 + 3 * 640)
    assert found.quantizable == 4 * (4 * 128**2 + 3 * 128 * 512)
    assert (found.patches_per_cell, found.tokens_per_cell) == (4, 1)


@pytest.mark.parametrize(
    ("family", "blocks", "per_block", "beyond"),
    [  # beyond the blocks: mergers of two layers; InternVL's projector is outside of its tower
        ("qwen2_5_vl", 32, 5, 2),  # qkv, proj, gate, up, down
        ("qwen2_vl", 32, 4, 2),  # qkv, proj, fc1, fc2
        ("qwen3_vl", 27, 4, 2 + 3 * 2),  # as above; three mergers of deeper layers
        ("internvl", 24, 6, 0),  # q, k, v, projection, fc1, fc2
    ],
)
def test_adapters_of_the_vision_tower_are_on_its_linear_layers(
    family: str, blocks: int, per_block: int, beyond: int
) -> None:
    profile = profiles.find(family)
    assert profile is not None
    empty = shapes.empty(transformers.CONFIG_MAPPING[family]())
    names = engine_model.vision_linears(empty, profile)
    assert len(names) == blocks * per_block + beyond
    decoder = RunConfig.model_validate({"lora": {"r": 1}})
    both = RunConfig.model_validate({"lora": {"r": 1, "vision": True}})
    layers = [
        sum(
            ".lora_A." in name
            for name, _ in get_peft_model(
                shapes.empty(transformers.CONFIG_MAPPING[family]()),
                engine_model.lora(config, profile, model=empty),
            ).named_parameters()
        )
        for config in (decoder, both)
    ]
    assert layers[1] - layers[0] == len(names)
    found = shapes.of_model(empty, profile, targets=None)
    assert found.vision.layers == blocks
    assert found.quantizable > 0


def test_the_defaults_are_those_of_trl() -> None:
    known = {
        field.name: field.default
        for cls in (SFTConfig, GRPOConfig)
        for field in dataclasses.fields(cls)
    }
    assert {key: known[key] for key in plan_memory.DEFAULTS} == dict(plan_memory.DEFAULTS)
