"""A folder of LoRA adapters as the model: merged into its base, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from geovlm import nano
from geovlm.config import load
from geovlm.config.model import inspect
from geovlm.config.schema import RunConfig
from geovlm.engine.programs.merge import merge
from geovlm.errors import ConfigError
from geovlm.plugins import registry
from geovlm.run import adapters
from tests.inside import geovlm

LAYER = "model.language_model.layers.1.self_attn.v_proj"
RANK, ALPHA = 4, 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Adapters of the built-in model, as peft saves them."""
    base = AutoModelForImageTextToText.from_pretrained(nano.path())
    targets = r".*language_model\.layers\.\d+\.self_attn\.v_proj"
    settings = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets)
    model = get_peft_model(base, settings)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.constant_(weight, 0.05)
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def changed(folder: Path, *, rename: tuple[str, str] | None = None, drop: str = "-") -> Path:
    """Rename or leave out weights of the adapters."""
    file = folder / "adapter_model.safetensors"
    kept = {name: each for name, each in load_file(file).items() if drop not in name}
    save_file({name.replace(*(rename or ("", ""))): each for name, each in kept.items()}, file)
    return folder


def configured(model: Path | str) -> RunConfig:
    return load.load(None, tasks=["xbd/count"], model=str(model))


def test_the_weights_of_the_merged_model_are_those_of_base_and_adapters(folder: Path) -> None:
    out = folder.parent / "merged"
    merge(folder, base=nano.path(), out=out)
    own = load_file(folder / "adapter_model.safetensors")
    down = own[f"base_model.model.{LAYER}.lora_A.weight"]
    up = own[f"base_model.model.{LAYER}.lora_B.weight"]
    before = AutoModelForImageTextToText.from_pretrained(nano.path(), dtype="auto")
    after = AutoModelForImageTextToText.from_pretrained(out, dtype="auto")
    old, new = (each.get_submodule(LAYER).weight for each in (before, after))
    expected = old.float() + ALPHA / RANK * up.float() @ down.float()
    assert new.dtype == old.dtype
    assert not torch.equal(new, old)
    # the sum is rounded once to the precision of the base, bfloat16 or float32
    assert torch.allclose(new.float(), expected, rtol=2**-7, atol=1e-4)


def test_adapters_become_a_whole_model_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEOVLM_CACHE", str(tmp_path / "cache"))
    made = adapters.whole(configured(folder))
    facts = inspect(made, registry=registry.load(), weights=True)
    assert Path(made.model).parent == tmp_path / "cache" / "merged"
    assert facts.parameters == inspect(configured("nano"), registry=registry.load()).parameters
    first = (Path(made.model) / "config.json").stat().st_mtime_ns
    assert adapters.whole(configured(folder)).model == made.model
    assert (Path(made.model) / "config.json").stat().st_mtime_ns == first


def test_a_plan_takes_the_shapes_of_the_base(folder: Path) -> None:
    assert adapters.whole(configured(folder), merge=False).model == str(nano.path())
    done = geovlm("data", "stats", "xbd/count", "--model", str(folder), folder=folder.parent)
    assert done.returncode == 0, done.stderr


def test_a_relative_base_lies_beside_the_adapters(folder: Path) -> None:
    (folder.parent / "base").symlink_to(nano.path())
    settings = folder / "adapter_config.json"
    fields = json.loads(settings.read_text()) | {"base_model_name_or_path": "../base"}
    settings.write_text(json.dumps(fields))
    made = adapters.whole(configured(folder), merge=False)
    assert Path(made.model).resolve() == nano.path().resolve()


@pytest.mark.parametrize(
    ("rename", "drop", "reason"),
    [
        (("v_proj", "w_proj"), "-", "no weights among them"),
        (None, "layers.1.", "no weights among them"),
        (("layers.1.", "layers.99."), "-", "no weights among them"),
        (("lora_A", "lora_C"), "-", "no weights among them"),
    ],
    ids=["another name", "a layer left out", "a layer that is not there", "half of a layer"],
)
def test_adapters_that_do_not_fit_their_base_are_refused(
    folder: Path, rename: tuple[str, str] | None, drop: str, reason: str
) -> None:
    changed(folder, rename=rename, drop=drop)
    with pytest.raises(ConfigError, match=reason):
        merge(folder, base=nano.path(), out=folder.parent / "merged")
    assert not (folder.parent / "merged").exists()


def test_adapters_of_another_size_are_refused(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    save_file({name: each[:, :2].contiguous() for name, each in load_file(file).items()}, file)
    with pytest.raises(ConfigError, match="do not fit"):
        merge(folder, base=nano.path(), out=folder.parent / "merged")


def test_adapters_of_another_kind_are_refused(folder: Path) -> None:
    settings = folder / "adapter_config.json"
    settings.write_text(
        json.dumps({"peft_type": "IA3", "target_modules": ["v_proj"], "feedforward_modules": []})
    )
    with pytest.raises(ConfigError, match="kind IA3"):
        merge(folder, base=nano.path(), out=folder.parent / "merged")
