"""The estimates against what training steps really allocate, and against the libraries' defaults.

Measured is the peak of all tensors that are alive, on the CPU in float32, over one SFT step with
TRL's fused head and AdamW, after a first one. The estimate may be a fifth too small or half too
large: it counts layers, not every operation.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import transformers
from peft import get_peft_model
from trl import GRPOConfig, SFTConfig

from benchmarks.gpu import configuration
from geovlm import nano
from geovlm.config import model
from geovlm.config.schema import RunConfig
from geovlm.config.stages import TRL_DEFAULTS
from geovlm.engine.models import adapters
from geovlm.engine.programs import shape as shapes
from geovlm.plan.memory import shape
from geovlm.plugins import profiles, registry
from tests.engine.steps import measured, middle


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


def test_the_shape_of_nano_is_exact_and_read_in_another_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GEOVLM_CACHE", str(tmp_path))
    config = RunConfig()
    facts = model.inspect(config, registry=registry.load())
    found = shape.inspect(facts, config)
    assert found.parameters == facts.parameters
    assert (found.text.layers, found.text.width, found.text.inner) == (5, 128, 512)
    assert (found.vision.layers, found.vision.width, found.vision.inner) == (3, 128, 512)
    # q, k, v, o: 128 to 128; gate, up, down: 128 to 512 or back
    assert found.adapter_weights == 5 * (4 * 256 + 3 * 640)
    assert found.quantizable == 5 * (4 * 128**2 + 3 * 128 * 512)
    assert (found.patches_per_cell, found.tokens_per_cell) == (4, 1)
    monkeypatch.setattr(shape, "MODULE", "geovlm.engine.nowhere")
    assert shape.inspect(facts, config) == found  # kept
    with pytest.raises(RuntimeError, match="nowhere failed"):
        shape.inspect(facts, RunConfig(trust_remote_code=True))
    (tmp_path / "file").touch()
    monkeypatch.setenv("GEOVLM_CACHE", str(tmp_path / "file"))  # nothing can be kept
    with pytest.raises(RuntimeError, match="nowhere failed"):
        shape.inspect(facts, config)


def test_the_model_of_the_gpu_benchmark_has_the_size_of_the_published_one() -> None:
    found = shapes.of_model(shapes.empty(configuration("3b")), profiles.QWEN2_5_VL)
    # model.safetensors.index.json of Qwen/Qwen2.5-VL-3B-Instruct: 7,509,245,952 bytes in bfloat16
    assert found.parameters == 7_509_245_952 // 2
    assert found.vision_parameters == 668_684_288


@pytest.mark.parametrize(
    ("family", "blocks", "per_block", "beyond"),
    [  # beyond the blocks: mergers of two layers; InternVL's projector is outside of its tower
        ("qwen2_5_vl", "depth", 5, 2),  # qkv, proj, gate, up, down
        ("qwen2_vl", "depth", 4, 2),  # qkv, proj, fc1, fc2
        ("qwen3_vl", "depth", 4, 2 + 3 * 2),  # as above; three mergers of deeper layers
        ("internvl", "num_hidden_layers", 6, 0),  # q, k, v, projection, fc1, fc2
    ],
)
def test_adapters_of_the_vision_tower_are_on_its_linear_layers(
    family: str, blocks: str, per_block: int, beyond: int
) -> None:
    """The families' own shapes, with three blocks and two layers of text."""
    profile = profiles.find(family)
    assert profile is not None
    config = transformers.CONFIG_MAPPING[family](
        vision_config={blocks: 3}, text_config={"num_hidden_layers": 2}
    )
    empty = shapes.empty(config)
    names = adapters.vision_linears(empty, profile)
    assert len(names) == 3 * per_block + beyond
    decoder = RunConfig.model_validate({"lora": {"r": 1}})
    both = RunConfig.model_validate({"lora": {"r": 1, "vision": True}})
    layers = [
        sum(
            ".lora_A." in name
            for name, _ in get_peft_model(
                shapes.empty(config), adapters.of_run(run, profile, model=empty)
            ).named_parameters()
        )
        for run in (decoder, both)
    ]
    assert layers[1] - layers[0] == len(names)
    found = shapes.of_model(empty, profile)
    assert found.vision.layers == 3
    assert found.quantizable > 0


def test_the_defaults_are_those_of_trl() -> None:
    known = {
        field.name: field.default
        for cls in (SFTConfig, GRPOConfig)
        for field in dataclasses.fields(cls)
    }
    assert {key: known[key] for key in TRL_DEFAULTS} == dict(TRL_DEFAULTS)
