"""Adapters: the whole way of a GRPO step on nano, with the reference that costs nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from peft import get_peft_model
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText
from trl import GRPOConfig, GRPOTrainer
from trl.trainer import grpo_trainer

from geovlm import nano
from geovlm.config.schema import RunConfig
from geovlm.engine.generation.generate import image_tokens
from geovlm.engine.models import adapters, quantize
from geovlm.engine.models import load as engine_model
from geovlm.plugins import registry


def config(**lora: object) -> RunConfig:
    return RunConfig.model_validate({"device": "cpu", "lora": {"r": 4, "alpha": 8, **lora}})


def trained(folder: Path, run: RunConfig) -> tuple[GRPOTrainer, engine_model.Loaded]:
    """One step of GRPO with a KL term and checkpointing."""
    loaded = engine_model.load(str(nano.path()), run, registry=registry.load(), to_train=True)
    prompt = [{"role": "user", "content": "How many ships are there?"}]
    image = Image.new("RGB", (84, 84), "navy")
    trainer = GRPOTrainer(
        model=loaded.model,
        reward_funcs=lambda completions, **_: [float(i) for i, _ in enumerate(completions)],
        args=GRPOConfig(
            output_dir=str(folder),
            max_steps=1,
            per_device_train_batch_size=4,
            num_generations=4,
            max_completion_length=8,
            beta=0.04,
            learning_rate=1e-2,
            gradient_checkpointing=True,
            generation_kwargs={"suppress_tokens": image_tokens(loaded.processor)},
            logging_steps=1,
            use_cpu=True,
            bf16=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list([{"prompt": prompt, "image": image}] * 4),
        processing_class=loaded.processor,
        peft_config=adapters.of_run(run, loaded.profile, model=loaded.model),
    )
    engine_model.skip_frozen_vision(loaded.model, loaded.profile)
    trainer.train()
    return trainer, loaded


def refuse(*args: object, **kwargs: object) -> None:
    raise AssertionError("a second model is loaded")


def changed(trainer: GRPOTrainer) -> dict[str, bool]:
    """Adapter -> whether the step moved it: B starts at zero."""
    return {
        name: bool(parameter.detach().abs().max() > 0)
        for name, parameter in trainer.model.named_parameters()
        if ".lora_B." in name
    }


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> GRPOTrainer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grpo_trainer, "create_model_from_path", refuse)
        return trained(tmp_path_factory.mktemp("grpo"), config())[0]


def test_the_reference_of_adapters_is_the_model_without_them(decoder: GRPOTrainer) -> None:
    assert decoder.ref_model is None
    assert any("kl" in entry for entry in decoder.state.log_history)


def test_gradients_reach_every_adapter_below_checkpointing(decoder: GRPOTrainer) -> None:
    moved = changed(decoder)
    assert len(moved) == 5 * 7
    assert all(moved.values())


def test_a_frozen_vision_tower_is_not_recorded(decoder: GRPOTrainer) -> None:
    tower = decoder.model.get_base_model().model.visual
    patches = torch.randn(144, 3 * 2 * 7 * 7)
    out = tower(patches, grid_thw=torch.tensor([[1, 12, 12]]))
    assert not out.pooler_output.requires_grad


def test_the_vision_tower_can_have_adapters_too(tmp_path: Path) -> None:
    moved = changed(trained(tmp_path, config(vision=True))[0])
    tower = {name: value for name, value in moved.items() if ".visual." in name}
    assert len(tower) == 3 * 5 + 2
    assert all(tower.values())


def test_four_bit_training_is_saved_whole_and_with_what_it_learned(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="the extra qlora is not installed")
    trainer, loaded = trained(tmp_path / "grpo", config(quantize="nf4"))
    base = trainer.model.get_base_model().model
    layer = base.language_model.layers[0].mlp.up_proj
    assert quantize.is_quantized(trainer.model)
    assert layer.base_layer.weight.dtype == torch.uint8
    assert base.visual.blocks[0].mlp.up_proj.weight.dtype == torch.float32
    ids = torch.arange(20)[None]
    with torch.no_grad():
        before = trainer.model.eval()(input_ids=ids).logits
        with trainer.model.disable_adapter():
            untrained = trainer.model(input_ids=ids).logits
    engine_model.save(trainer.model, loaded.processor, tmp_path / "model")
    saved = load_file(tmp_path / "model" / "model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32}
    assert not (tmp_path / "model" / "adapter").exists()
    again = AutoModelForImageTextToText.from_pretrained(tmp_path / "model").eval()
    with torch.no_grad():
        after = again(input_ids=ids).logits
    # the adapters were in bfloat16, the merged weights are not
    assert (after - before).abs().max() < 0.1 * (before - untrained).abs().max()


@pytest.mark.parametrize("chosen", [{"vision": True}, {"targets": r".*\.(qkv|q_proj)"}])
@pytest.mark.parametrize("frozen", [True, False])
def test_freeze_vision_leaves_the_tower_without_adapters(
    chosen: dict[str, object], frozen: bool
) -> None:
    run = config(**chosen)
    loaded = engine_model.load(str(nano.path()), run, registry=registry.load())
    adapter = adapters.of_run(run, loaded.profile, model=loaded.model, freeze_vision=frozen)
    adapted = get_peft_model(loaded.model, adapter)
    names = [name for name, weight in adapted.named_parameters() if weight.requires_grad]
    assert any("language_model" in name for name in names)
    assert any("visual" in name for name in names) != frozen
