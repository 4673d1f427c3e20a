"""The presets for models of 2026 fit the GPUs that they name, at the largest images they allow.

`shapes` holds sizes and no weights. Those of GLM-4.1V-9B are the defaults of transformers' config
class. Those of Qwen3-VL-4B and Qwen3.5-4B are of copies: the hub's own files were not read.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

import pytest
from transformers import AutoConfig

from geovlm.config import extras, load
from geovlm.engine.programs import shape
from geovlm.engine.training import arguments
from geovlm.plan.memory import shape as asked
from geovlm.plugins import profiles
from tests.inside import geovlm

SHAPES = Path(__file__).with_name("shapes")
PRESETS = {  # GiB of one GPU, and the billions of weights in the model
    "qwen3-vl-4b": (80, 4.44),
    "qwen3-vl-4b-lora": (24, 4.44),
    "qwen3.5-4b": (80, 4.54),
    "qwen3.5-4b-lora": (24, 4.54),
    "glm-4.1v-9b": (80, 10.29),
    "glm-4.1v-9b-lora": (40, 10.29),
    "glm-4.1v-9b-qlora": (24, 10.29),
}


@functools.cache
def sizes(source: str) -> bytes:
    """Return what `shape` answers about a model and the adapters on it."""
    model = shape.empty(AutoConfig.from_pretrained(source))
    profile = profiles.find(model.config.model_type)
    assert profile is not None
    return json.dumps(dataclasses.asdict(shape.of_model(model, profile))).encode()


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
        *("plan", "--preset", preset, "--tasks", "xbd/detect", "--json"),
        *("--model", SHAPES / preset.removesuffix("-qlora").removesuffix("-lora")),
        *("--gpu-memory", memory, "--set", f"min_pixels={config.max_pixels}"),
        *("--set", "sample.records=4"),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["memory"]
    assert found["fits"], found["stages"]
    assert round(found["parameters"] / 1e9, 2) == billions
    assert found["trained"] < found["parameters"] / 20 or not config.lora


@pytest.mark.parametrize("preset", PRESETS)
def test_trl_takes_the_arguments_of_a_preset(preset: str) -> None:
    for index, stage in enumerate(load.load(None, preset=preset).stages):
        arguments.check(stage.kind, stage.trainer, path=f"stages.{index}.trainer")  # type: ignore[union-attr]


def test_every_preset_for_a_public_model_is_planned_here() -> None:
    presets = {path.stem for path in Path(load.__file__).with_name("presets").glob("*.toml")}
    assert presets - {"nano", "geovlm-r1"} == set(PRESETS)
