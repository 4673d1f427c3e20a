"""The presets for models of 2026 fit the GPUs that they name, at the largest images they allow.

The sizes are those of the shapes that ship with the package, see `geovlm.config.shapes`: neither
network nor weights are needed.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

import pytest
from transformers import AutoConfig

from geovlm.config import extras, load, model
from geovlm.config.schema import RunConfig
from geovlm.engine.programs import shape
from geovlm.engine.training import arguments
from geovlm.plan.memory import shape as asked
from geovlm.plugins import profiles, registry
from tests.inside import geovlm

SHAPES = {  # billions of weights, as the checkpoints are named or described
    "Qwen/Qwen2.5-VL-3B-Instruct": 3.75,
    "Qwen/Qwen2.5-VL-7B-Instruct": 8.29,
    "Qwen/Qwen3-VL-4B-Instruct": 4.44,
    "Qwen/Qwen3-VL-8B-Instruct": 8.77,
    "Qwen/Qwen3.5-4B": 4.54,
    "zai-org/GLM-4.1V-9B-Thinking": 10.29,
}
PRESETS = {  # GiB of one GPU, and the billions of weights in the model
    "qwen3-vl-4b": (80, 4.44),
    "qwen3-vl-4b-lora": (24, 4.44),
    "qwen3.5-4b": (80, 4.54),
    "qwen3.5-4b-lora": (24, 4.54),
    "glm-4.1v-9b": (80, 10.29),
    "glm-4.1v-9b-lora": (40, 10.29),
    "glm-4.1v-9b-qlora": (24, 10.29),
    "sft-only": (24, 4.44),
    "lora-24gb": (24, 4.44),
    "qlora-16gb": (16, 4.44),
    "geovlm-r1-full": (80, 3.75),
}
TASK = {"geovlm-r1-full": "xbd/earthdial/detect"}
"""Preset whose stages name the tasks that they train -> one of them."""


@functools.cache
def sizes(source: str) -> bytes:
    """Return what `shape` answers about a model and the adapters on it."""
    made = shape.empty(AutoConfig.from_pretrained(source))
    profile = profiles.find(made.config.model_type)
    assert profile is not None
    return json.dumps(dataclasses.asdict(shape.of_model(made, profile))).encode()


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read sizes in this process, and plan 4-bit weights without bitsandbytes."""

    monkeypatch.setattr(asked, "_ask", lambda request: sizes(request["source"]))
    monkeypatch.setattr(extras, "check", lambda config: None)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_fits_its_gpus(preset: str, elsewhere: None) -> None:
    memory, billions = PRESETS[preset]
    config = load.load(None, preset=preset)
    done = geovlm(
        *("plan", "--preset", preset, "--tasks", TASK.get(preset, "xbd/detect"), "--json"),
        *("--gpu-memory", memory, "--set", f"min_pixels={config.max_pixels}"),
        *("--set", "sample.records=4"),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["memory"]
    assert found["fits"], found["stages"]
    assert round(found["parameters"] / 1e9, 2) == billions
    assert found["trained"] < found["parameters"] / 20 or not config.lora


@pytest.mark.parametrize("name", SHAPES)
def test_the_shape_of_a_public_checkpoint_ships(name: str) -> None:
    facts = model.inspect(RunConfig(model=name), registry=registry.load())
    assert facts.shipped
    assert facts.profile is not None
    assert facts.profile.box_frame is not None
    found = json.loads(sizes(str(facts.folder)))
    assert round(found["parameters"] / 1e9, 2) == SHAPES[name]


def test_every_shape_is_known_by_its_name_and_small() -> None:
    folder = Path(load.__file__).with_name("shapes")
    assert {each.parent.name for each in folder.glob("*/*.json")} == {
        name.replace("/", "--") for name in SHAPES
    }
    assert max(sum(f.stat().st_size for f in each.glob("*")) for each in folder.glob("*-*")) < 2048


@pytest.mark.parametrize("preset", PRESETS)
def test_trl_takes_the_arguments_of_a_preset(preset: str) -> None:
    for index, stage in enumerate(load.load(None, preset=preset).stages):
        if stage.kind != "probe":
            arguments.check(stage.kind, stage.trainer, path=f"stages.{index}.trainer")


def test_every_preset_for_a_public_model_is_planned_here() -> None:
    presets = {path.stem for path in Path(load.__file__).with_name("presets").glob("*.toml")}
    assert presets - {"nano", "geovlm-r1"} == set(PRESETS)
