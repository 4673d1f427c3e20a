"""Tests that need a GPU: a whole run in bfloat16, and memory as it is really allocated."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from safetensors import safe_open
from transformers import AutoModelForImageTextToText
from trl import GRPOConfig, GRPOTrainer

from geovlm import nano
from geovlm.engine.models.processor import load_processor
from geovlm.engine.speedups import distinct_images, shared_prefill
from geovlm.engine.speedups.grpo_trainer import GroupTrainer
from tests.engine import test_grpo_trainer as shared
from tests.engine import test_shared_prefill as prefill
from tests.engine.steps import measured, middle
from tests.engine.test_run import TINY, command, geovlm, kill_after_a_checkpoint, start

ROOT = Path(__file__).parents[2]
needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="the extra qlora is not installed"
)


def run(output: Path, *changes: str) -> None:
    """One short run on one GPU."""
    sets = [part for one in (*TINY, *changes) for part in ("--set", one)]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "geovlm.cli", "run", "--tasks", "rsvqa/lr"),
            *("--gpus", "1", "--output", str(output), *sets),
        ],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "memory  0-sft: about" in done.stderr
    metrics = json.loads((output / "metrics.json").read_text())
    assert set(metrics["tasks"]["rsvqa/lr"]["stages"]) == {"base", "sft", "grpo"}


def dtypes(output: Path) -> set[str]:
    with safe_open(output / "stages" / "2-grpo" / "model" / "model.safetensors", "pt") as weights:
        return {str(weights.get_slice(name).get_dtype()) for name in weights.keys()}  # noqa: SIM118


@pytest.mark.parametrize("changes", [[], ["lora.r=4"], ["lora.r=4", "lora.vision=true"]])
def test_a_run_ends_with_weights_in_bfloat16(tmp_path: Path, changes: list[str]) -> None:
    run(tmp_path / "run", *changes)
    assert dtypes(tmp_path / "run") == {"BF16"}


def test_a_killed_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    output = tmp_path / "run"
    stage = output / "stages" / "0-sft"
    kill_after_a_checkpoint(start(output, "--gpus", "1"), stage)
    assert not (stage / "done.json").exists()
    done = geovlm(*command(output, "--resume"))
    assert done.returncode == 0, done.stderr
    logged = map(json.loads, (stage / "log.jsonl").read_text().splitlines())
    steps = [each["step"] for each in logged if "loss" in each]
    assert steps == sorted(set(steps))
    assert json.loads((stage / "done.json").read_text())["steps"] == 4
    metrics = json.loads((output / "metrics.json").read_text())
    assert set(metrics["tasks"]["rsvqa/lr"]["stages"]) == {"base", "sft", "grpo"}


@needs_bitsandbytes
def test_four_bit_training_ends_with_whole_weights(tmp_path: Path) -> None:
    run(tmp_path / "run", "lora.r=4", "lora.quantize=nf4")
    assert dtypes(tmp_path / "run") == {"BF16"}


@pytest.mark.parametrize(
    "parallel",
    [
        "fsdp2",
        *(
            pytest.param(
                each,
                marks=pytest.mark.skipif(
                    find_spec("deepspeed") is None, reason="the extra deepspeed is not installed"
                ),
            )
            for each in ("zero2", "zero3")
        ),
    ],
)
@pytest.mark.parametrize("changes", [[], ["lora.r=4"]], ids=["full", "lora"])
def test_a_model_in_parts_is_trained_evaluated_and_saved_whole(
    tmp_path: Path, parallel: str, changes: list[str]
) -> None:
    run(tmp_path / "run", f"parallel={parallel}", *changes)
    assert dtypes(tmp_path / "run") == {"BF16"}


@pytest.mark.parametrize(("dtype", "apart"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
def test_shared_prompts_give_the_gradients_of_trl(
    tmp_path: Path, dtype: torch.dtype, apart: float
) -> None:
    model = AutoModelForImageTextToText.from_pretrained(nano.path(), dtype=dtype).to("cuda")
    trainer = GroupTrainer(
        model=model,
        reward_funcs=[lambda completions, **_: [0.0] * len(completions)],
        args=GRPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=8,
            num_generations=8,
            bf16=dtype == torch.bfloat16,
            report_to=[],
            temperature=0.9,
        ),
        train_dataset=Dataset.from_list([{"prompt": "?"}]),
        processing_class=load_processor(str(nano.path())),
    )
    batch = {
        name: value.to("cuda") if isinstance(value, torch.Tensor) else value
        for name, value in shared.a_batch(trainer, [0, 0, 1, 1, 1, 2, 2, 2]).items()
    }
    batch["pixel_values"] = batch["pixel_values"].to(dtype)
    plain = shared.measured(trainer, GRPOTrainer, batch)
    distinct_images.share(model)
    packed = shared.measured(trainer, GroupTrainer, batch)
    for name, value in plain.items():
        error = (packed[name].float() - value.float()).norm() / value.float().norm()
        print(f"{name}: {error:.1e}")
        assert error < apart, name


@pytest.mark.parametrize(("dtype", "apart"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
def test_prompts_read_once_are_answered_alike(dtype: torch.dtype, apart: float) -> None:
    vlm = prefill.a_nano().to("cuda", dtype).eval()
    batch = {name: value.to("cuda") for name, value in prefill.a_batch(vlm, prefill.WHICH).items()}
    batch["pixel_values"] = batch["pixel_values"].to(dtype)
    seen = prefill.rows_read(vlm)
    sequences, logits = prefill.answered(vlm, batch, pad_token_id=0)
    distinct_images.share(vlm)
    with shared_prefill.shared(vlm, prefill.GROUPS, prefill.N_IMAGES):
        shared_sequences, shared_logits = prefill.answered(vlm, batch, pad_token_id=0)
    assert [seen[0][0], seen[6][0]] == [8, len(prefill.GROUPS)]
    error = (shared_logits[0] - logits[0]).float().norm() / logits[0].float().norm()
    print(f"first logits: {error:.1e}")
    assert error < apart
    if dtype == torch.float32:
        assert torch.equal(shared_sequences, sequences)


@pytest.mark.parametrize("pixels", [84, 224])
def test_a_step_of_grpo_is_that_of_trl(pixels: int) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.grpo_step", "--device", "cuda"),
            *("--pixels", str(pixels), "--rounds", "1", "--tokens", "16"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=ROOT,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split("gradient norms within ")[1]) < 1e-3


def test_doctor_finds_nothing_to_mend() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "geovlm.cli", "doctor", "--gpus", "1"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr


@needs_bitsandbytes
def test_eight_bit_optimisers_train(tmp_path: Path) -> None:
    run(tmp_path / "run", "stages.0.trainer.optim=adamw_bnb_8bit")


@pytest.mark.parametrize("adapters", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_takes_what_is_estimated(adapters: bool, checkpointing: bool) -> None:
    real, said = measured(
        middle(),
        rows=8,
        text_tokens=200,
        side=448,
        checkpointing=checkpointing,
        adapters=adapters,
        device="cuda",
    )
    assert 0.7 * real < said < 1.5 * real


def test_the_benchmark_measures_every_case(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    subprocess.run(
        [
            *(sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--size", "nano"),
            *("--side", "84", "--steps", "1", "--answer-tokens", "24", "--out", str(figures)),
        ],
        check=True,
        timeout=500,
    )
    cases = json.loads(figures.read_text())["cases"]
    assert {(case["case"], case["means"]) for case in cases} == {
        (f"{kind}-{weights}", means)
        for kind, every in (
            ("sft", ("trl", "windows", "images")),
            ("grpo", ("trl", "windows", "images", "prompts")),
        )
        for weights in ("full", "lora")
        for means in every
    }
    assert all(case["tokens_per_s"] > 0 for case in cases)
