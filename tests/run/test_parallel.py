"""Ranks on machines, accelerate's settings, and what is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from geovlm.config import load
from geovlm.errors import ConfigError
from geovlm.run import parallel
from geovlm.run.machines import Machine
from geovlm.run.parallel import Layout


def config(*overrides: str, **values):
    return load.load(None, overrides=overrides, **values)


def on_gpus(*overrides: str, **values):
    return config(*overrides, **values).model_copy(update={"device": "cuda"})


def there(rank: int, count: int = 2) -> Machine:
    return Machine(rank=rank, count=count, host="node1", port=29500)


def test_a_stage_fills_machines_in_their_order():
    run = config("stages.2.processes=4", gpus=4, machines=3)
    whole = parallel.layout(run, 0, machine=there(2, 3))
    assert (whole.world_size, whole.machines, list(whole.ranks)) == (12, 3, [8, 9, 10, 11])
    assert list(parallel.layout(run, 2, machine=there(0, 3)).ranks) == [0, 1, 2, 3]
    assert list(parallel.layout(run, 2, machine=there(1, 3)).ranks) == []


def test_processes_that_do_not_fill_machines_are_refused():
    with pytest.raises(ConfigError, match=r"stages\.2\.processes 6 does not fill machines of 4"):
        config("stages.2.processes=6", gpus=4, machines=2)


def test_sft_on_eight_and_grpo_on_four_as_in_the_paper():
    run = config("stages.2.processes=4", gpus=8)
    sizes = [parallel.layout(run, i, machine=Machine()).world_size for i in range(3)]
    assert sizes == [8, 8, 4]


def test_the_settings_of_a_machine():
    ranks = Layout(machine=there(1), world_size=4, machines=2, local=2)
    made = parallel.accelerate_config(ranks, on_cpu=False, port=29501)
    assert made["num_machines"] == 2
    assert made["machine_rank"] == 1
    assert made["num_processes"] == 4
    assert (made["main_process_ip"], made["main_process_port"]) == ("node1", 29501)
    assert made["distributed_type"] == "MULTI_GPU"


@pytest.mark.parametrize("scheme", ["fsdp2", "zero2", "zero3"])
def test_accelerate_itself_reads_the_settings(scheme: str, tmp_path: Path, monkeypatch):
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    monkeypatch.setattr("accelerate.commands.launch.is_deepspeed_available", lambda: True)
    ranks = Layout(machine=there(0), world_size=4, machines=2, local=2)
    file = tmp_path / "accelerate.yaml"
    settings = parallel.accelerate_config(ranks, on_cpu=False, port=29501, parallel=scheme)
    file.write_text(yaml.safe_dump(settings))
    args = launch_command_parser().parse_args(["--config_file", str(file), "x.py"])
    args, _, _ = _validate_launch_command(args)
    assert (args.num_processes, args.num_machines, args.main_process_ip) == (4, 2, "node1")
    if scheme != "fsdp2":
        assert (args.use_deepspeed, args.zero_stage) == (True, int(scheme[-1]))
        assert args.zero3_init_flag is False
        return
    monkeypatch.setattr("accelerate.utils.launch.is_port_in_use", lambda port: False)
    made = prepare_multi_gpu_env(args)
    assert made["ACCELERATE_USE_FSDP"] == "true"
    assert made["FSDP_VERSION"] == "2"
    assert made["FSDP_CPU_RAM_EFFICIENT_LOADING"] == "false"
    assert made["FSDP_STATE_DICT_TYPE"] == "FULL_STATE_DICT"
    assert made["FSDP_AUTO_WRAP_POLICY"] == "TRANSFORMER_BASED_WRAP"


def test_probes_and_evaluations_have_whole_copies():
    run = config("parallel=zero3")
    assert [run.scheme(i) for i in (-1, 0, 1, 2)] == ["ddp", "zero3", "ddp", "zero3"]
    assert config("parallel=zero3", "stages.0.parallel=ddp").scheme(0) == "ddp"


@pytest.mark.parametrize(
    ("scheme", "whole"), [("ddp", True), ("zero2", True), ("zero3", False), ("fsdp2", False)]
)
def test_who_holds_all_weights(scheme: str, whole: bool):
    assert parallel.shards(scheme) is not whole


def test_a_file_of_accelerate_keeps_its_settings_but_not_its_machines(tmp_path: Path):
    file = tmp_path / "own.yaml"
    own = {"distributed_type": "FSDP", "num_processes": 99, "fsdp_config": {"fsdp_version": 1}}
    file.write_text(yaml.safe_dump(own))
    ranks = Layout(machine=Machine(), world_size=2, machines=1, local=2)
    made = parallel.accelerate_config(ranks, on_cpu=False, port=1, parallel=str(file))
    assert (made["num_processes"], made["fsdp_config"]) == (2, {"fsdp_version": 1})
    assert parallel.shards(str(file))


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "No such file"), ("a: [", "is not YAML"), ("a: 1", "has no distributed_type")],
)
def test_a_file_that_is_none_is_refused(text: str | None, message: str, tmp_path: Path):
    file = tmp_path / "own.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        parallel.check(on_gpus(f"parallel={file}"))


def test_shards_on_the_cpu_are_refused():
    run = config("parallel=fsdp2", "device=cpu")
    with pytest.raises(ConfigError, match=r"stages\.0: parallel 'fsdp2' needs GPUs"):
        parallel.check(run)
    parallel.check(config("device=cpu"))


def test_zero_names_the_extra_that_it_needs(monkeypatch):
    monkeypatch.setattr(parallel.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'geovlm\[deepspeed\]'"):
        parallel.check(on_gpus("stages.2.parallel=zero3"))
    parallel.check(on_gpus("parallel=fsdp2"))


@pytest.mark.parametrize("scheme", ["fsdp2", "zero3"])
def test_four_bits_in_parts_are_refused(scheme: str, monkeypatch):
    monkeypatch.setattr(parallel.importlib.util, "find_spec", lambda name: object())
    run = on_gpus("lora.quantize=nf4", f"stages.2.parallel={scheme}")
    message = rf"stages\.2: parallel '{scheme}' keeps .*lora\.quantize 'nf4'.*parallel=ddp"
    with pytest.raises(ConfigError, match=message):
        parallel.check(run)
    parallel.check(on_gpus("lora.quantize=nf4", "parallel=zero2"))
    parallel.check(on_gpus("lora.r=4", f"parallel={scheme}"))


FULL = {"fsdp_cpu_ram_efficient_loading": False, "fsdp_state_dict_type": "FULL_STATE_DICT"}


@pytest.mark.parametrize(
    ("fsdp", "message"),
    [
        ({}, "fsdp_cpu_ram_efficient_loading must be false"),
        (
            {**FULL, "fsdp_state_dict_type": "SHARDED_STATE_DICT"},
            "fsdp_state_dict_type must be FULL_STATE_DICT: .* no weights",
        ),
        ({**FULL, "fsdp_activation_checkpointing": True}, "gradient_checkpointing=false"),
    ],
)
def test_settings_of_fsdp_that_would_go_wrong_are_refused(fsdp: dict, message: str, tmp_path: Path):
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump({"distributed_type": "FSDP", "fsdp_config": fsdp}))
    run = on_gpus("stages.0.trainer.gradient_checkpointing=true", f"parallel={file}")
    with pytest.raises(ConfigError, match=message):
        parallel.check(run)


@pytest.mark.parametrize(
    ("zero", "message"),
    [
        (
            {"zero3_save_16bit_model": True, "zero3_init_flag": True},
            "zero3_init_flag must be false",
        ),
        ({"zero3_init_flag": False}, "zero3_save_16bit_model must be true: .* cannot be gathered"),
    ],
)
def test_settings_of_zero_that_would_go_wrong_are_refused(
    zero: dict, message: str, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(parallel.importlib.util, "find_spec", lambda name: object())
    file = tmp_path / "own.yaml"
    settings = {"distributed_type": "DEEPSPEED", "deepspeed_config": {**zero, "zero_stage": 3}}
    file.write_text(yaml.safe_dump(settings))
    with pytest.raises(ConfigError, match=message):
        parallel.check(on_gpus(f"parallel={file}"))
    settings["deepspeed_config"]["zero_stage"] = 2
    file.write_text(yaml.safe_dump(settings))
    parallel.check(on_gpus(f"parallel={file}"))


def test_an_unknown_scheme_is_refused():
    with pytest.raises(ConfigError, match=r"parallel: 'fsdp' is not one of ddp, fsdp2, zero2"):
        config("parallel=fsdp")
