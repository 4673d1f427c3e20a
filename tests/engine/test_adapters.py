"""Adapters on the families' own classes: where they lie, and what is left of them when merged."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import AutoModelForImageTextToText, PreTrainedModel

from geovlm.api import ModelProfile
from geovlm.config.schema import RunConfig
from geovlm.engine.models import adapters, quantize
from geovlm.engine.programs import merge
from geovlm.engine.programs import shape as shapes
from geovlm.errors import ConfigError
from geovlm.plan.memory import estimate
from geovlm.plan.memory.parts import Adapter
from tests.engine import tiny

PROFILE = ModelProfile(name="mine", model_types=(), box_frame="norm1000")
IDS = torch.arange(1, 25)[None]
KINDS = ["qwen2_5_vl", "qwen3_vl_moe", "qwen3_5_moe", "glm4v_moe"]
"""Dense, fused experts, these in a hybrid decoder, and beside dense layers."""


def run(**lora: object) -> RunConfig:
    return RunConfig.model_validate({"device": "cpu", "lora": {"r": 4, "alpha": 8, **lora}})


def adapted(model: PreTrainedModel, **lora: object) -> PeftModel:
    """Return the model with adapters that change its output."""
    settings = adapters.of_run(run(**lora), PROFILE, model=model)
    assert settings is not None
    made = get_peft_model(model, settings).eval()
    torch.manual_seed(1)
    for name, weight in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    return made


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


@pytest.mark.parametrize("kind", KINDS)
def test_merged_weights_give_the_output_of_the_adapters(kind: str) -> None:
    model = tiny.model(kind)
    before = logits(model)
    made = adapted(model)
    with_adapters = logits(made)
    with made.disable_adapter():
        assert torch.equal(logits(made), before)  # the reference of GRPO
    assert (with_adapters - before).abs().max() > 0.01
    merged = made.merge_and_unload()
    assert (logits(merged) - with_adapters).abs().max() < 1e-5
    assert merged.state_dict().keys() == tiny.model(kind).state_dict().keys()


@pytest.mark.parametrize("kind", KINDS)
def test_vllm_gets_the_names_and_merged_weights_of_the_base(kind: str) -> None:
    """As `VLLMGeneration` of TRL 1.16 sends them: merged for a while, peft's names removed."""
    made = adapted(tiny.model(kind))
    made.merge_adapter()
    sent = {
        name.removeprefix("base_model.model.").replace(".base_layer", ""): weight.detach().clone()
        for name, weight in made.named_parameters()
        if "lora_" not in name
    }
    made.unmerge_adapter()
    merged = made.merge_and_unload()
    expected = dict(merged.named_parameters())
    assert sent.keys() == expected.keys()
    assert all(torch.allclose(sent[name], expected[name], atol=1e-6) for name in sent)


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_saved_beside_a_checkpoint_are_read_again_and_merged(
    kind: str, tmp_path: Path
) -> None:
    base = tiny.model(kind)
    base.save_pretrained(tmp_path / "base")
    made = adapted(base)
    made.save_pretrained(str(tmp_path / "adapters"))
    again = adapted(AutoModelForImageTextToText.from_pretrained(tmp_path / "base").eval())
    found = again.load_adapter(str(tmp_path / "adapters"), "default")
    assert not [name for name in found.missing_keys if "lora_" in name]
    assert torch.allclose(logits(again), logits(made), atol=1e-5)
    merge.merge(tmp_path / "adapters", base=tmp_path / "base", out=tmp_path / "whole")
    whole = AutoModelForImageTextToText.from_pretrained(tmp_path / "whole").eval()
    assert torch.allclose(logits(whole), logits(made), atol=1e-5)


def test_linear_layers_that_share_names_with_experts_have_adapters_too() -> None:
    """The dense layer and the shared expert of GLM-4.5V, whose names peft takes for experts'."""
    made = adapted(tiny.model("glm4v_moe"))
    where = "base_model.model.model.language_model.layers."
    names = {n for n, _ in made.named_parameters() if "lora_A" in n}
    assert f"{where}0.mlp.up_proj.lora_A.default.weight" in names
    assert f"{where}1.mlp.shared_experts.down_proj.lora_A.default.weight" in names
    assert len(names) == 2 * 4 + 3 + 3 + 2  # attention, dense layer, shared expert, experts
    assert not any("visual" in name for name in names)


def test_an_expert_has_the_rank_divided_by_the_experts_that_a_token_visits() -> None:
    made = adapted(tiny.model("qwen3_vl_moe"))
    shapes = {name: tuple(w.shape) for name, w in made.named_parameters() if "lora_A" in name}
    layer = "base_model.model.model.language_model.layers.0."
    assert shapes[f"{layer}self_attn.q_proj.lora_A.default.weight"] == (4, 16)
    # two of three experts are visited; peft's nested wrappers: gate and up outside, down inside
    ranks = {name: shape for name, shape in shapes.items() if "layers.0.mlp.experts" in name}
    assert {shape[0] for shape in ranks.values()} == {3 * (4 // 2)}
    assert {shape[1] for shape in ranks.values()} == {16, 8}


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_change_the_output_and_get_their_own_weights_back(kind: str) -> None:
    model = tiny.model(kind)
    settings = adapters.of_run(run(), PROFILE, model=model)
    assert settings is not None
    made = get_peft_model(model, settings).train()
    before = {name: weight.clone() for name, weight in made.state_dict().items()}
    state = torch.get_rng_state()
    adapters.check_effect(made, {"input_ids": IDS})
    assert torch.equal(torch.get_rng_state(), state)
    assert made.training
    assert all(torch.equal(before[name], weight) for name, weight in made.state_dict().items())


def test_adapters_that_change_nothing_are_refused() -> None:
    model: Any = tiny.model("internvl")
    made = get_peft_model(
        model, adapters.of_run(run(targets=r".*vision_tower.*\.fc1"), PROFILE, model=model)
    )
    with pytest.raises(ConfigError, match=r"adapters do not change the output of InternVLForCond"):
        adapters.check_effect(made, {"input_ids": IDS})  # text alone, the tower is not passed


@pytest.mark.parametrize("vision", [False, True])
@pytest.mark.parametrize("kind", sorted(tiny.CONFIGS))
def test_the_plan_counts_the_weights_that_are_trained(kind: str, vision: bool) -> None:
    model = tiny.model(kind, device="meta")
    shape = shapes.of_model(model, PROFILE)
    planned = estimate.trained_parameters(shape, Adapter(rank=4, vision=vision), freeze_vision=True)
    settings = adapters.of_run(run(vision=vision), PROFILE, model=model)
    assert settings is not None
    made = get_peft_model(model, settings)
    assert planned == sum(each.numel() for each in made.parameters() if each.requires_grad)
    assert not any("audio" in n for n, weight in made.named_parameters() if weight.requires_grad)


def test_dropout_is_off_for_fused_experts_and_refused_where_it_is_asked_for() -> None:
    experts, dense = tiny.model("qwen3_vl_moe"), tiny.model("qwen2_5_vl")
    dropouts = [
        adapters.of_run(run(**lora), PROFILE, model=model).lora_dropout  # type: ignore[union-attr]
        for model, lora in (
            (experts, {}),
            (dense, {}),
            (dense, {"dropout": 0.2}),
            (experts, {"dropout": 0.2, "targets": r".*\.q_proj"}),
        )
    ]
    assert dropouts == [0.0, 0.05, 0.2, 0.2]
    with pytest.raises(ConfigError, match=r"lora.dropout=0.2: .*fused experts.*set lora.dropout=0"):
        adapters.of_run(run(dropout=0.2), PROFILE, model=experts)


def test_the_targets_of_a_run_can_name_fused_experts() -> None:
    model = tiny.model("qwen3_vl_moe")
    made = adapted(model, targets=r".*(layers\.0\..*\.q_proj|layers\.1\..*\.down_proj)")
    names = [name for name, weight in made.named_parameters() if weight.requires_grad]
    layers = "base_model.model.model.language_model.layers"
    assert names == [
        f"{layers}.0.self_attn.q_proj.lora_A.default.weight",
        f"{layers}.0.self_attn.q_proj.lora_B.default.weight",
        f"{layers}.1.mlp.experts.lora_A.default.weight",
        f"{layers}.1.mlp.experts.lora_B.default.weight",
    ]


@pytest.mark.parametrize(
    ("kind", "linears"), [("qwen3_vl_moe", 8), ("qwen3_5", 15), ("smolvlm", 14)]
)
def test_four_bits_are_for_the_linear_layers_of_the_decoder(kind: str, linears: int) -> None:
    model = tiny.model(kind, device="meta")
    kept = quantize.kept_whole(model, PROFILE)
    names = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    made = [n for n in names if not any(n == k or n.startswith(f"{k}.") for k in kept)]
    assert len(made) == linears
    assert all(re.search(r"\.(language|text)_model\.layers\.", name) for name in made)
