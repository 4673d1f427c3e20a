"""Models in parts, as far as the CPU can show it: gathered weights and refused rows."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from peft import get_peft_model
from transformers.integrations import (
    is_deepspeed_zero3_enabled,
    set_hf_deepspeed_config,
    unset_hf_deepspeed_config,
)

from geovlm import nano
from geovlm.data import loading
from geovlm.engine.models import adapters, load
from geovlm.engine.stage import Stage
from geovlm.engine.training import sharded
from tests.engine.test_generation import stage


def with_records(folder: Path, *overrides: str, images: bool) -> Stage:
    """The GRPO stage of a run on xbd/count; without images its second record has none."""
    made = stage(folder / "run", *overrides)
    spec = made.registry.dataset("xbd")
    loading.resolve(spec.make_sample)(folder / "data", 4, 0)
    records = loading.load_records(spec, root=folder / "data", split="train", options=None).records
    if not images:
        records[1] = dataclasses.replace(records[1], images=())
    made.records["xbd", "train"] = records
    return dataclasses.replace(made, data_roots={"xbd": folder / "data"})


@pytest.mark.parametrize("overrides", [(), ("lora.r=4",)], ids=["full", "lora"])
def test_gathered_weights_become_a_whole_model(tmp_path, overrides):
    made = stage(tmp_path, "parallel=fsdp2", *overrides)
    start = str(nano.path())
    loaded = load.load(start, made.config, registry=made.registry)
    adapter = adapters.of_run(made.config, loaded.profile, model=loaded.model)
    trained = loaded.model if adapter is None else get_peft_model(loaded.model, adapter)
    with torch.no_grad():
        for weight in trained.parameters():
            if weight.requires_grad:
                weight.add_(0.01)
    trainer = SimpleNamespace(accelerator=Accelerator(cpu=True), model_wrapped=trained)
    made.folder.mkdir(parents=True)
    sharded.save(trainer, made, start=start, processor=loaded.processor)
    again = load.load(str(made.folder / "model"), made.config, registry=made.registry).model
    merged = trained if adapter is None else trained.merge_and_unload()
    expected = merged.state_dict()
    assert again.state_dict().keys() == expected.keys()
    worst = max((again.state_dict()[name] - each).abs().max() for name, each in expected.items())
    assert worst < 1e-6
    before = load.load(start, made.config, registry=made.registry).model.state_dict()
    assert max((before[name] - each).abs().max() for name, each in expected.items()) > 1e-3


class Zero3:
    def is_zero3(self) -> bool:
        return True


def test_the_whole_model_is_loaded_as_if_there_were_no_zero3(tmp_path):
    """Under it `from_pretrained` makes weights of size 0, which gathered ones do not fit."""
    made = stage(tmp_path, "parallel=fsdp2")
    start = str(nano.path())
    loaded = load.load(start, made.config, registry=made.registry)
    trainer = SimpleNamespace(accelerator=Accelerator(cpu=True), model_wrapped=loaded.model)
    made.folder.mkdir(parents=True)
    zero3 = Zero3()  # transformers keeps it weakly
    set_hf_deepspeed_config(zero3)
    try:
        sharded.save(trainer, made, start=start, processor=loaded.processor)
        assert not is_deepspeed_zero3_enabled()
    finally:
        unset_hf_deepspeed_config()
    again = load.load(str(made.folder / "model"), made.config, registry=made.registry).model
    assert all(
        torch.equal(each, loaded.model.state_dict()[name])
        for name, each in again.state_dict().items()
    )


def test_weights_that_do_not_fit_are_never_left_out(tmp_path):
    made = stage(tmp_path)
    loaded = load.load(str(nano.path()), made.config, registry=made.registry)
    state = dict(loaded.model.state_dict())
    name = next(each for each in state if each.endswith("mlp.up_proj.weight"))
    del state[name]
    with pytest.raises(RuntimeError, match=r"missing \['" + name.replace(".", r"\.")):
        sharded.fill(loaded.model, state)
    with pytest.raises(RuntimeError, match=r"unknown \['other'\]"):
        sharded.fill(loaded.model, loaded.model.state_dict() | {"other": torch.zeros(1)})


@pytest.mark.slow
def test_a_sharded_model_trains_generates_in_step_and_becomes_whole(tmp_path):
    # torch's own FSDP2 over gloo: accelerate would not shard on the CPU
    script = Path(__file__).with_name("fsdp2_on_gloo.py")
    argv = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*argv, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert [each["new_tokens"] for each in said] == [2, 6]
    assert all(each["local_rows"] * 2 == each["rows"] for each in said)
    assert said[0]["largest_change"] > 1e-4
