"""The arguments of TRL that choose what writes GRPO's completions; without vLLM itself."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import pytest
from PIL import Image
from trl import GRPOConfig

from geovlm import nano
from geovlm.api import Sample, Turn
from geovlm.config import load
from geovlm.config.model import source
from geovlm.data.prompts import Prompt
from geovlm.engine.models.processor import load_processor
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.stage import Stage
from geovlm.engine.training import grpo, vllm
from geovlm.errors import ConfigError
from geovlm.plugins import registry
from geovlm.plugins.profiles import INTERNVL, QWEN2_5_VL
from geovlm.run import files
from geovlm.run.folder import RunDir


def stage(folder: Path, *overrides: str) -> Stage:
    config = load.load(None, tasks=["xbd/count"], overrides=["device=cpu", *overrides])
    run = RunDir(folder)
    files.write_json(run.resolved, {"stage_folders": config.stage_folders()})
    return Stage(
        run=run,
        config=config,
        registry=registry.load(),
        index=2,
        task_names=("xbd/count",),
        data_roots={},
        cache=ImageCache(),
        rank=0,
        world_size=1,
    )


def arguments(folder: Path, *overrides: str) -> GRPOConfig:
    # on_cpu: TRL would ask for a GPU that knows bf16
    return grpo.arguments(stage(folder, *overrides), max_steps=1, on_cpu=True, suppress=[7, 8])


def test_nothing_is_dropped_while_completions_are_scored(tmp_path):
    assert arguments(tmp_path).disable_dropout is True


def test_the_trainer_generates_without_image_tokens(tmp_path):
    made = arguments(tmp_path)
    assert made.use_vllm is False
    assert made.generation_kwargs == {"suppress_tokens": [7, 8]}


def test_the_loss_of_routers_is_off_unless_a_run_asks_for_it(tmp_path):
    assert arguments(tmp_path).router_aux_loss_coef == 0.0
    asked = arguments(tmp_path, "stages.2.trainer.router_aux_loss_coef=0.01")
    assert asked.router_aux_loss_coef == 0.01


def test_vllm_beside_the_trainer_sleeps_and_never_writes_image_tokens(tmp_path):
    made = arguments(
        tmp_path,
        "stages.2.generation=vllm-colocate",
        "stages.2.vllm.max_model_len=4096",
        "stages.2.vllm.memory=0.4",
    )
    assert (made.use_vllm, made.vllm_mode) == (True, "colocate")
    assert made.vllm_enable_sleep_mode is False  # vLLM cannot sleep on the CPU
    settings = stage(tmp_path, "stages.2.generation=vllm-colocate").settings
    assert vllm.arguments(settings, on_cpu=False, suppress=[])["vllm_enable_sleep_mode"] is True
    assert made.generation_kwargs == {"logit_bias": {7: -100.0, 8: -100.0}}
    assert (made.vllm_max_model_length, made.vllm_gpu_memory_utilization) == (4096, 0.4)


def test_vllm_stops_at_every_token_that_ends_a_completion(tmp_path):
    chosen = stage(tmp_path, "stages.2.generation=vllm-colocate")
    made = grpo.arguments(chosen, max_steps=1, on_cpu=True, stops=(3, 4))
    assert made.generation_kwargs == {"stop_token_ids": [3, 4]}


def test_a_server_is_found_where_the_launcher_says(tmp_path, monkeypatch):
    chosen = "stages.2.generation=vllm-server"
    monkeypatch.setenv("GEOVLM_VLLM_URL", "http://node2:8000")
    made = arguments(tmp_path, chosen)
    assert (made.vllm_mode, made.vllm_server_base_url) == ("server", "http://node2:8000")
    own = arguments(tmp_path, chosen, "stages.2.vllm.url=http://10.0.0.5:9")
    assert own.vllm_server_base_url == "http://10.0.0.5:9"
    assert own.generation_kwargs == {"logit_bias": {7: -100.0, 8: -100.0}}


def test_own_generation_arguments_come_on_top(tmp_path):
    made = arguments(tmp_path, "stages.2.trainer.generation_kwargs={no_repeat_ngram_size=3}")
    assert made.generation_kwargs == {"suppress_tokens": [7, 8], "no_repeat_ngram_size": 3}


def test_images_that_vllm_beside_the_trainer_cannot_take_are_refused():
    sample, turn = Sample(id="7", images=(), target={}), Turn(question="", answer="", reasoning="")
    small = Prompt(task="t/a", sample=sample, turn=turn, image_sizes=(), input_sizes=((84, 84),))
    large = dataclasses.replace(small, input_sizes=((2048, 2048),))
    vllm.refuse_large_images([small], task="t/a", profile=QWEN2_5_VL)
    with pytest.raises(ConfigError, match=r"'7' of task 't/a' .* 5329 tokens, .* takes 4096"):
        vllm.refuse_large_images([small, large], task="t/a", profile=QWEN2_5_VL)


def test_trl_finds_the_revision_of_the_run(tmp_path, monkeypatch):
    asked = []

    def download(name, *, revision):
        asked.append((name, revision))
        return "/snapshots/abc"

    monkeypatch.setattr(vllm, "snapshot_download", download)
    chosen = stage(tmp_path, "model=Qwen/Some", "revision=abc").config
    assert vllm.pinned("Qwen/Some", chosen) == "/snapshots/abc"
    served = functools.partial(vllm.served, processor=None, profile=INTERNVL, folder=tmp_path)
    assert served("Qwen/Some", chosen) == "/snapshots/abc"
    assert asked == [("Qwen/Some", "abc")] * 2
    assert vllm.pinned("stages/0-sft/model", chosen) == "stages/0-sft/model"
    free = stage(tmp_path, "model=Qwen/Some").config
    assert vllm.pinned("Qwen/Some", free) == "Qwen/Some"


def test_vllm_leaves_images_at_the_size_that_the_run_gives_them(tmp_path):
    chosen = stage(tmp_path / "run", f"model={nano.path()}", "max_pixels=50176").config
    start = str(nano.path())
    processor = load_processor(start, min_pixels=50176, max_pixels=50176)
    into = functools.partial(vllm.served, processor=processor, profile=QWEN2_5_VL)
    served = into(start, chosen, folder=tmp_path / "served")
    loose = load_processor(served)
    for size in ((252, 196), (28, 1400), (224, 224)):  # what 50,176 pixels make of stored images
        made = loose.image_processor([Image.new("RGB", size)])["image_grid_thw"][0]
        assert (made[2] * 7, made[1] * 7) == size
    weights = Path(served) / "model.safetensors"
    assert weights.is_symlink()
    assert weights.resolve() == (nano.path() / "model.safetensors").resolve()
    # a second start finds it there, and the trainer's processor keeps its limits
    assert into(start, chosen, folder=Path(served)) == served
    assert processor.image_processor.size["longest_edge"] == 50176


def test_vllm_loads_weights_of_an_earlier_stage_where_the_processor_resizes(tmp_path):
    chosen = stage(tmp_path / "run", f"model={nano.path()}", "max_pixels=50176").config
    served = vllm.served("x", chosen, processor=None, profile=INTERNVL, folder=tmp_path / "no")
    assert served == "x"


def test_the_built_in_model_is_served_with_the_limits_of_the_run(tmp_path):
    chosen = stage(tmp_path / "run", "model=nano", "max_pixels=50176").config
    start = source("nano")
    processor = load_processor(start, max_pixels=50176)
    served = vllm.served(
        start, chosen, processor=processor, profile=INTERNVL, folder=tmp_path / "f"
    )
    assert served == str(tmp_path / "f")


def test_a_share_of_the_steps_saves_where_nothing_generated_waits(tmp_path):
    waits = ("stages.2.trainer.steps_per_generation=4", "stages.2.trainer.save_steps=0.25")
    with pytest.raises(ValueError, match="save_steps 3 would save while"):
        grpo.arguments(stage(tmp_path, *waits), max_steps=10, on_cpu=True)
    assert grpo.arguments(stage(tmp_path, *waits), max_steps=16, on_cpu=True).save_steps == 4
