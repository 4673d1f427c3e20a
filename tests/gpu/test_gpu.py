"""What only a GPU shows: the whole way in bfloat16, and memory as it is really allocated."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from safetensors import safe_open

from tests.engine.steps import measured, middle
from tests.engine.test_run import TINY

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


@needs_bitsandbytes
def test_four_bit_training_ends_with_whole_weights(tmp_path: Path) -> None:
    run(tmp_path / "run", "lora.r=4", "lora.quantize=nf4")
    assert dtypes(tmp_path / "run") == {"BF16"}


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
            *("--side", "84", "--steps", "1", "--out", str(figures)),
        ],
        check=True,
        timeout=500,
    )
    cases = json.loads(figures.read_text())["cases"]
    assert [case["case"] for case in cases] == ["sft-full", "sft-lora", "grpo-full", "grpo-lora"]
    assert all(case["tokens_per_s"] > 0 for case in cases)
