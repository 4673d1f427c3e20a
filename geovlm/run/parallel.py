"""Writes accelerate's configuration of a stage and places its ranks on machines.

All four schemes were run on one GPU, none on several.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geovlm.errors import ConfigError
from geovlm.run.machines import Machine

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig

_FSDP2 = {
    "fsdp_version": 2,
    "fsdp_reshard_after_forward": True,
    # layers by the model's own _no_split_modules
    "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
    # checkpoints that from_pretrained reads, and that resume on another number of processes
    "fsdp_state_dict_type": "FULL_STATE_DICT",
    # true would leave the weights of all ranks but one empty in every from_pretrained of the
    # stage, evaluation included (transformers.distributed.fsdp.is_fsdp_enabled)
    "fsdp_cpu_ram_efficient_loading": False,
    "fsdp_offload_params": False,
    # the trainer's gradient_checkpointing does it
    "fsdp_activation_checkpointing": False,
}
_DEEPSPEED = {
    "deepspeed_multinode_launcher": "standard",
    "offload_optimizer_device": "none",
    "offload_param_device": "none",
    # the model is loaded before the trainer exists, and whole for the evaluation
    "zero3_init_flag": False,
}
_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "ddp": {},
    "fsdp2": {"distributed_type": "FSDP", "fsdp_config": _FSDP2},
    "zero2": {"distributed_type": "DEEPSPEED", "deepspeed_config": {**_DEEPSPEED, "zero_stage": 2}},
    "zero3": {
        "distributed_type": "DEEPSPEED",
        "deepspeed_config": {**_DEEPSPEED, "zero_stage": 3, "zero3_save_16bit_model": True},
    },
}


_NEEDED: Mapping[tuple[str, bool], Sequence[tuple[str, bool | str, str]]] = {
    ("FSDP", True): (
        (
            "fsdp_cpu_ram_efficient_loading",
            False,
            "the weights of all ranks but one are empty when the stage is evaluated",
        ),
        (
            "fsdp_state_dict_type",
            "FULL_STATE_DICT",
            "checkpoints hold no weights that a resumed stage could read",
        ),
    ),
    ("DEEPSPEED", True): (
        ("zero3_init_flag", False, "the model is in parts before the trainer exists"),
        ("zero3_save_16bit_model", True, "the trained weights cannot be gathered at the end"),
    ),
}
"""(Distributed type, True if it shards) -> (key, needed value, effect of another value)."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The ranks of a stage on one machine."""

    machine: Machine
    world_size: int
    """Number of ranks of the stage on all machines."""
    machines: int
    """Number of machines that it uses."""
    local: int
    """Number of ranks on this machine; 0 if it is not used."""

    @property
    def ranks(self) -> range:
        """The ranks on this machine."""
        first = self.machine.rank * self.local
        return range(first, first + self.local)


def layout(config: RunConfig, index: int, *, machine: Machine) -> Layout:
    """Return a machine's ranks of a stage (-1: an evaluation); machines are filled in order."""
    world_size = config.world_size(index)
    used = -(-world_size // config.per_machine)
    local = world_size // used if machine.rank < used else 0
    return Layout(machine=machine, world_size=world_size, machines=used, local=local)


def accelerate_config(
    layout: Layout, *, on_cpu: bool, port: int, parallel: str = "ddp"
) -> dict[str, Any]:
    """Return the content of a stage's accelerate.yaml; `port` is the rendezvous on machine 0.

    Processes and machines in a file that `parallel` names are replaced by the run's.
    """
    settings = read_yaml(parallel) if parallel not in _SETTINGS else _SETTINGS[parallel]
    several = layout.world_size > 1
    return {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "MULTI_GPU" if several else "NO",
        "mixed_precision": "no",  # the trainer's arguments set it
        "rdzv_backend": "static",
        "same_network": True,
        "downcast_bf16": "no",
        "debug": False,
        **settings,
        "use_cpu": on_cpu,
        "num_machines": layout.machines,
        "machine_rank": layout.machine.rank,
        "num_processes": layout.world_size,
        "main_process_ip": layout.machine.host,
        "main_process_port": port,
    }


def read_yaml(path: str) -> dict[str, Any]:
    """Return an accelerate configuration.

    Raises:
        ConfigError: it cannot be read, or is not an accelerate configuration.
    """
    import yaml

    try:
        table = yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"parallel {path!r}: {error.strerror}", hint="give a file of 'accelerate config'"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"parallel {path!r} is not YAML: {reason}", hint="correct it") from error
    if not isinstance(table, dict) or "distributed_type" not in table:
        raise ConfigError(
            f"parallel {path!r} has no distributed_type",
            hint="give a file that 'accelerate config --config_file' wrote",
        )
    return table


def shards(parallel: str) -> bool:
    """Return True if no process holds all weights: each forward pass then needs all processes."""
    settings = read_yaml(parallel) if parallel not in _SETTINGS else _SETTINGS[parallel]
    if settings.get("distributed_type") == "DEEPSPEED":
        # a JSON file of DeepSpeed does not show its stage here: assume the worst
        return int((settings.get("deepspeed_config") or {}).get("zero_stage", 3)) == 3
    return settings.get("distributed_type") == "FSDP"


def check(config: RunConfig) -> None:
    """Refuse an impossible `parallel` of a stage, before anything starts; the device is resolved.

    Raises:
        ConfigError: names the stage, and what to install or to change.
    """
    for index, stage in enumerate(config.stages):
        parallel = config.scheme(index)
        settings = read_yaml(parallel) if parallel not in _SETTINGS else _SETTINGS[parallel]
        kind = settings.get("distributed_type", "MULTI_GPU")
        if kind not in ("NO", "MULTI_GPU", "MULTI_CPU") and config.device == "cpu":
            raise ConfigError(
                f"stages.{index}: parallel {parallel!r} needs GPUs: on the CPU accelerate trains "
                "a whole copy per process without a warning",
                hint="use parallel='ddp', or --gpus",
            )
        if kind == "DEEPSPEED" and importlib.util.find_spec("deepspeed") is None:
            raise ConfigError(
                f"stages.{index}: parallel {parallel!r} needs DeepSpeed, which is not installed",
                hint="pip install 'geovlm[deepspeed]'; fsdp2 needs no package",
            )
        if config.lora is not None and config.lora.quantize != "none" and shards(parallel):
            # accelerate 1.15 leaves 4-bit weights whole on every rank of FSDP2
            # (fsdp2_prepare_model), and no whole model can be gathered from them: engine.sharded
            raise ConfigError(
                f"stages.{index}: parallel {parallel!r} keeps weights in parts, and those of "
                f"lora.quantize {config.lora.quantize!r} cannot be",
                hint=f"set stages.{index}.parallel=ddp, or lora.quantize=none",
            )
        for key, needed, otherwise in _NEEDED.get((kind, shards(parallel)), ()):
            table = settings.get(f"{kind.lower()}_config") or {}
            if table.get(key) != needed and "deepspeed_config_file" not in table:
                written = str(needed).lower() if isinstance(needed, bool) else needed
                raise ConfigError(
                    f"{parallel}: {key} must be {written}: otherwise {otherwise}",
                    hint=f"write '{key}: {written}' into its {kind.lower()}_config",
                )
        fsdp = settings.get("fsdp_config") or {}
        recomputes = stage.kind != "probe" and stage.trainer.get("gradient_checkpointing", True)
        if fsdp.get("fsdp_activation_checkpointing") and recomputes:
            raise ConfigError(
                f"stages.{index}: {parallel} has fsdp_activation_checkpointing and the trainer "
                "gradient_checkpointing",
                hint=f"set stages.{index}.trainer.gradient_checkpointing=false, or the other one",
            )
