"""The arithmetic of memory, by hand on a model of round numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from geovlm.config import extras
from geovlm.config.schema import RunConfig
from geovlm.errors import ConfigError
from geovlm.plan.memory import estimate, ladder
from geovlm.plan.memory import stages as plan_memory
from geovlm.plan.memory.ladder import StageWork
from geovlm.plan.memory.parts import GIB, Adapter, Estimate, ModelShape, Placement, Stack, Work

TEXT = Stack(layers=10, width=1000, inner=4000, gated=True, keys_width=200, parameters=800_000)
VISION = Stack(layers=5, width=500, inner=1500, gated=True, keys_width=500, parameters=100_000)
SHAPE = ModelShape(
    parameters=1_000_000,
    vision_parameters=150_000,
    quantizable=700_000,
    text=TEXT,
    vision=VISION,
    vocabulary=50_000,
    adapter_weights=1_000,
    adapter_weights_vision=500,
    patches_per_cell=4,
    tokens_per_cell=1,
)
SFT = Work(kind="sft", batch=2, cells=100, prompt_tokens=200, answer_tokens=50, accumulates=False)
GRPO = Work(
    kind="grpo",
    batch=8,
    cells=100,
    prompt_tokens=200,
    answer_tokens=50,
    generated=8,
    reference=True,
)


def of(work: Work = SFT, *, adapter: Adapter | None = None, **where: object) -> Estimate:
    return estimate.estimate(SHAPE, work, Placement(**where), adapter=adapter)  # type: ignore[arg-type]


def test_full_fine_tuning_keeps_weights_gradients_and_two_states_in_bfloat16() -> None:
    found = of()
    assert (found.weights, found.gradients, found.optimizer) == (2e6, 2e6, 4e6)


def test_on_the_cpu_all_of_them_are_float32() -> None:
    found = of(device="cpu")
    assert (found.weights, found.gradients, found.optimizer) == (4e6, 4e6, 8e6)
    assert found.context == 0


@pytest.mark.parametrize(
    ("parallel", "weights", "gradients", "optimizer"),
    [
        ("ddp", 2e6, 4e6, 4e6),  # the buckets hold every gradient once more
        ("zero2", 2e6, 0.5e6 + 2e6, 3e6),  # 12 bytes of float32 states / 4; a bucket of width ** 2
        ("zero3", 0.5e6 + 2e6, 0.5e6, 3e6),  # all 10^6 weights may be gathered at a time
        # float32 shards; two layers of 80,000 and the 100,000 weights outside of layers, gathered
        ("fsdp2", 1e6 + 520_000, 1e6, 2e6),
    ],
)
def test_sharding_divides_what_it_shards_over_four_gpus(
    parallel: str, weights: float, gradients: float, optimizer: float
) -> None:
    found = of(processes=4, parallel=parallel)
    assert (found.weights, found.gradients, found.optimizer) == (weights, gradients, optimizer)


def test_only_adapters_have_gradients_and_states_and_these_are_float32() -> None:
    found = of(adapter=Adapter(rank=8))
    assert (found.weights, found.gradients, found.optimizer) == (2_032_000, 32_000, 64_000)


def test_four_bit_weights_take_half_a_byte_and_their_scales() -> None:
    found = of(adapter=Adapter(rank=8, quantized=True))
    four_bit = 700_000 * (0.5 + 1 / 64 + 1 / 4096)
    assert found.weights == pytest.approx(four_bit + 300_000 * 2 + 16_000)


EXPERTS = replace(
    SHAPE,
    experts=400_000,
    experts_adapted=400_000,
    adapter_weights_experts=2_000,
    experts_visited=8,
    adapted=600_000,
)


def test_an_expert_has_a_share_of_the_rank() -> None:
    # 64 x 1,000 weights, and 64 / 8 x 2,000; of a rank below 8 each expert still has 1
    trained = [
        estimate.trained_parameters(EXPERTS, Adapter(rank=rank), freeze_vision=False)
        for rank in (64, 4)
    ]
    assert trained == [64_000 + 16_000, 4_000 + 2_000]


def test_experts_are_made_whole_with_their_adapters() -> None:
    """In bfloat16: a layer with its gradient, or all layers and the gradient of one."""
    adapter = Adapter(rank=64, dropout=False)
    layer = 2 * 400_000 / TEXT.layers
    for work, more in (
        (replace(SFT, checkpointing=True), 2 * layer),
        (SFT, 2 * 400_000 + layer),
    ):
        plain, found = (
            estimate.estimate(shape, work, Placement(), adapter=adapter).activations
            for shape in (SHAPE, EXPERTS)
        )
        assert found - plain == more


def test_the_tower_of_another_input_is_not_trained() -> None:
    shape = replace(SHAPE, other_parameters=50_000)
    trained = [
        estimate.trained_parameters(shape, None, freeze_vision=frozen) for frozen in (False, True)
    ]
    assert trained == [950_000, 800_000]


def planned(shape: ModelShape, adapter: Adapter | None) -> list[str]:
    return plan_memory.lines(
        plan_memory.MemoryPlan(
            shape=shape,
            trained=1,
            adapter=adapter,
            limit=GIB,
            device="cuda",
            estimates={},
            nearest=None,
        )
    )


def test_a_plan_says_what_adapters_reach_and_what_stays_in_16_bits() -> None:
    text = replace(TEXT, parameters=800_000)
    lora = planned(replace(EXPERTS, text=text), Adapter(rank=64))
    assert lora[1:] == ["lora    adapters on 75.0% of the weights of the text decoder's layers"]
    four = planned(replace(EXPERTS, text=text), Adapter(rank=64, quantized=True))
    assert four[2].startswith("experts 400,000 weights of fused experts stay in 16 bits")
    few = planned(replace(EXPERTS, text=text, adapted=40_000), Adapter(rank=64))
    assert "5.0% of the weights of the text decoder's layers: few; without lora.targets" in few[1]
    assert len(planned(SHAPE, None)) == 1


def test_eight_bit_states_take_two_bytes_per_weight_and_plain_descent_none() -> None:
    assert of(replace(SFT, optimizer="adamw_bnb_8bit")).optimizer == 2e6
    assert of(replace(SFT, optimizer="sgd")).optimizer == 0


def test_the_reference_model_is_free_with_adapters() -> None:
    assert of(GRPO).reference == 2e6
    assert of(GRPO, adapter=Adapter(rank=8)).reference == 0


def test_logits_are_made_in_tiles_whatever_the_number_of_tokens() -> None:
    long = replace(SFT, batch=64, answer_tokens=1000)
    tile, head, hidden = 4096 * 32768 * 2, 50_000 * 1000 * 4, 64_000 * 1000 * 4
    assert of(long).logits == tile + head + hidden


def test_label_smoothing_needs_all_logits_at_once() -> None:
    whole = replace(SFT, whole_logits=True)
    assert of(whole).logits == 2 * 200 * 50_000 * (2 + 12)


def test_the_cache_is_keys_and_values_of_every_row_and_one_layer_more() -> None:
    assert of(GRPO).cache == 8 * 250 * 2 * 200 * 2 * 11


def test_sharded_weights_are_whole_while_answers_are_generated() -> None:
    alone, sharded = of(GRPO), of(GRPO, processes=4, parallel="zero3")
    assert sharded.generation - alone.generation == 2e6


def test_checkpointing_keeps_the_inputs_of_layers_and_computes_one_again() -> None:
    kept = 400 * 10 * 1000 * 2 + 800 * 5 * 500 * 2
    again = 400 * (2 * 6 * 1000 + 8 * 2 * 1000 + 4 * 2 * 4000)
    one = 400 * (12 * 1000 + 6 * 4000)
    assert of(replace(SFT, checkpointing=True)).activations == kept + again + one


def test_a_frozen_vision_tower_keeps_nothing() -> None:
    frozen = estimate.estimate(SHAPE, SFT, Placement(), freeze_vision=True)
    assert of().activations - frozen.activations == 800 * 5 * (2 * 6 * 500 + 16 * 500 + 8 * 1500)
    assert frozen.gradients == 1.7e6


def test_training_and_generation_take_turns() -> None:
    both = Estimate(weights=1, gradients=2, activations=3, cache=4, generation=5)
    assert both.total == 1 + 9
    assert replace(both, accumulates=False, cache=0).total == 1 + 5


def stage(memory: float, work: Work = SFT, **fields: object) -> StageWork:
    placement = Placement(memory=memory)
    return StageWork(name="0-sft", index=0, work=work, placement=placement, **fields)  # type: ignore[arg-type]


def nearest(*stages: StageWork, adapter: Adapter | None = None) -> str | None:
    found = ladder.nearest(
        SHAPE, stages, adapter=adapter, pixels=100 * 784, min_pixels=100 * 784, cell_pixels=784
    )
    return None if found is None else " ".join(found.options)


def test_checkpointing_comes_first() -> None:
    needs = of().total
    assert nearest(stage(needs - 1)) == "--set stages.0.trainer.gradient_checkpointing=true"


def test_half_the_batch_is_twice_the_accumulation() -> None:
    saving = replace(SFT, batch=8, checkpointing=True)
    limit = of(saving).total - 1
    assert nearest(stage(limit, saving)) == (
        "--set stages.0.trainer.per_device_train_batch_size=4 "
        "--set stages.0.trainer.gradient_accumulation_steps=2"
    )


def test_the_answers_of_a_generation_stay_as_many() -> None:
    saving = replace(GRPO, checkpointing=True, reference=False, accumulates=False)
    limit = of(saving).total - 1
    assert nearest(stage(limit, saving, steps_per_generation=2)) == (
        "--set stages.0.trainer.per_device_train_batch_size=4 "
        "--set stages.0.trainer.gradient_accumulation_steps=2 "
        "--set stages.0.trainer.steps_per_generation=4"
    )


def test_smaller_images_have_fewer_visual_tokens_and_as_many_words() -> None:
    one = replace(SFT, batch=1, checkpointing=True, optimizer="sgd")
    small = replace(one, cells=50, prompt_tokens=150)
    limit = of(small, adapter=Adapter(rank=64, quantized=True)).total
    assert nearest(stage(limit, one)) == (
        "--set lora.r=64 --set lora.quantize=nf4 --set max_pixels=39200 --set min_pixels=39200"
    )


def test_adapters_come_when_the_weights_themselves_are_too_much() -> None:
    heavy = replace(SFT, batch=1, prompt_tokens=40, cells=1, answer_tokens=1, checkpointing=True)
    small = replace(heavy, optimizer="adamw_bnb_8bit")
    limit = of(small).total - 1
    assert nearest(stage(limit, heavy)) == "--set lora.r=64"


def test_a_stage_that_fits_is_left_as_it_is() -> None:
    small = replace(SFT, batch=1, checkpointing=True)
    large = StageWork(name="1-sft", index=1, work=SFT, placement=Placement(memory=of().total - 1))
    options = nearest(stage(of().total - 1, small), large)
    assert options == "--set stages.1.trainer.gradient_checkpointing=true"


def test_an_evaluation_answers_fewer_rows_at_a_time() -> None:
    work = replace(GRPO, kind="eval", batch=0, generated=64, reference=False)
    limit = of(work).total - 1
    one = StageWork(name="eval", index=-1, work=work, placement=Placement(memory=limit))
    assert nearest(one) == "--set eval.batch_size=32"


def test_more_gpus_are_the_last_resort_and_keep_the_rows_per_step() -> None:
    heavy = replace(SFT, batch=2, checkpointing=True)
    four_bit = Adapter(rank=500, quantized=True)
    shape = replace(SHAPE, adapter_weights=1_000_000)
    least = estimate.estimate(
        shape,
        replace(heavy, batch=1, cells=12, prompt_tokens=112, optimizer="adamw_bnb_8bit"),
        Placement(),
        adapter=four_bit,
    )
    found = ladder.nearest(
        shape,
        [stage(least.total - 1, heavy, accumulation=2)],
        adapter=replace(four_bit, quantized=False),
        pixels=100 * 784,
        min_pixels=0,
        cell_pixels=784,
    )
    assert found is not None
    options = " ".join(found.options)
    assert "--gpus 2 --set parallel=fsdp2" in options
    assert "stages.0.trainer.gradient_accumulation_steps=1" in options


def test_nothing_fits_into_less_than_cuda_itself() -> None:
    assert nearest(stage(0.5 * GIB)) is None


def test_more_gpus_do_not_make_an_evaluation_fit() -> None:
    work = Work(kind="eval", batch=0, cells=0, prompt_tokens=1, answer_tokens=1, generated=1)
    placement = Placement(memory=of(work).total - 1)
    assert nearest(StageWork(name="eval", index=-1, work=work, placement=placement)) is None


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"lora": {"quantize": "nf4"}}, "lora.quantize='nf4'"),
        (
            {"stages": [{"kind": "sft", "steps": 1, "trainer": {"optim": "adamw_bnb_8bit"}}]},
            "stages.0.trainer.optim='adamw_bnb_8bit'",
        ),
        (
            {"stages": [{"kind": "sft", "steps": 1, "trainer": {"optim": "paged_adamw_32bit"}}]},
            "stages.0.trainer.optim='paged_adamw_32bit'",
        ),
    ],
)
def test_what_needs_bitsandbytes_is_refused_without_it(
    changes: dict[str, object], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as refused:
        extras.check(RunConfig.model_validate(changes))
    assert str(refused.value).startswith(f"{key} needs bitsandbytes")
    assert "pip install 'geovlm[qlora]'" in str(refused.value)


def test_optimisers_of_torch_need_no_bitsandbytes() -> None:
    assert not extras.needs_bitsandbytes("adamw_torch_8bit")
    assert not extras.needs_bitsandbytes("sgd")


def test_bitsandbytes_may_be_used_by_what_is_configured_or_by_the_weights(tmp_path: Path) -> None:
    def may(**changes: object) -> bool:
        return extras.may_use_bitsandbytes(RunConfig.model_validate(changes))

    config = tmp_path / "config.json"
    config.write_text("{}")
    assert not may()
    assert not may(model=str(tmp_path))
    assert may(lora={"quantize": "nf4"})
    assert may(stages=[{"kind": "grpo", "steps": 1, "trainer": {"optim": "lion_8bit"}}])
    assert may(model="someone/on-the-hub")
    config.write_text('{"quantization_config": {"load_in_4bit": true}}')
    assert may(model=str(tmp_path))


def test_vision_and_targets_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="'vision' adds to the profile's targets"):
        RunConfig.model_validate({"lora": {"vision": True, "targets": "x"}})


def test_tokens_of_a_tile_are_counted_once() -> None:
    tiles = replace(SHAPE, tokens_per_cell=256)
    task = SimpleNamespace(most_visual_tokens=512, most_text_tokens=40, answer_tokens=20)
    found = plan_memory._lengths([task], shape=tiles)  # type: ignore[list-item]
    assert (found["cells"], found["answer_tokens"]) == (2, 20)
    assert found["prompt_tokens"] == 512 + 40 + plan_memory.TEMPLATE_TOKENS


def test_a_stage_is_placed_by_its_own_parallel_and_an_evaluation_on_whole_copies() -> None:
    stages = [{"kind": "sft", "steps": 1, "parallel": "zero3"}, {"kind": "grpo", "steps": 1}]
    config = RunConfig.model_validate({"gpus": 4, "parallel": "fsdp2", "stages": stages})
    placed = [plan_memory._placement(config, index, limit=1.0) for index in (0, 1, -1)]
    assert [each.parallel for each in placed] == ["zero3", "fsdp2", "ddp"]


@pytest.mark.parametrize(
    ("settings", "share", "generated"),
    [
        ({}, 0.0, 8),
        ({"generation": "vllm-colocate"}, 0.3, 0),
        ({"generation": "vllm-colocate", "vllm": {"memory": 0.5}}, 0.5, 0),
        ({"generation": "vllm-server"}, 0.0, 0),
    ],
)
def test_completions_of_vllm_take_its_share_of_the_memory(
    settings: dict[str, object], share: float, generated: int
) -> None:
    config = RunConfig.model_validate({"stages": [{"kind": "grpo", "steps": 1, **settings}]})
    task = SimpleNamespace(name="t", most_visual_tokens=100, most_text_tokens=40, answer_tokens=20)
    plan = SimpleNamespace(config=config, tasks=[task], stages=[SimpleNamespace(tasks=["t"])])
    work = plan_memory._stage(plan, 0, shape=SHAPE, limit=80 * GIB).work  # type: ignore[arg-type]
    assert (work.vllm_share, work.generated) == (share, generated)
