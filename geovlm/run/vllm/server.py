"""Places, starts and ends the vLLM server of a GRPO stage.

Run on the CPU; not yet on a GPU or a cluster.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from geovlm.config.model import loose_limits
from geovlm.errors import ConfigError, RunFailedError
from geovlm.run.machines import Machine
from geovlm.run.parallel import layout
from geovlm.run.process import end_session, end_tree, isolated, python
from geovlm.run.vllm import extension, fitness

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig
    from geovlm.config.stages import VllmConfig

URL_VARIABLE = "GEOVLM_VLLM_URL"
"""Variable with the address of the server, for the processes of the stage."""
_ON_CPU = "on_cpu"
"""A plugin of vLLM that replaces weights on the CPU; `make vllm` installs it."""
_CPU_CACHE_GIB = "2"


class Placement(NamedTuple):
    """Machine and GPUs of a server."""

    machine: int
    gpus: tuple[int, ...]
    """Numbers of GPUs of the machine, from 0."""


def check(config: RunConfig) -> None:
    """Refuse a GRPO stage whose vLLM is missing or has no GPU; contacts no server.

    Raises:
        ConfigError: names the stage, and what to install or to set.
    """
    for index, stage in enumerate(config.stages):
        if stage.kind != "grpo" or stage.generation == "transformers":
            continue
        if config.device == "cpu" and not serves_cpu():
            raise ConfigError(
                f"stages.{index}.generation {stage.generation!r} needs GPUs, or vLLM for the CPU",
                hint="use --gpus, or generation='transformers'; for tests on the CPU: make vllm",
            )
        if importlib.util.find_spec("vllm") is None:
            raise ConfigError(
                f"stages.{index}.generation {stage.generation!r} needs vLLM, which is missing",
                hint="pip install 'geovlm[vllm]', or generation='transformers'",
            )
        if config.lora is not None and config.lora.quantize != "none":
            # TRL 1.16 passes `param.data` on (VLLMGeneration._iter_named_params): packed bytes
            raise ConfigError(
                f"stages.{index}.generation {stage.generation!r} and lora.quantize "
                f"{config.lora.quantize!r}: TRL would pass the packed 4-bit weights to vLLM",
                hint="use generation='transformers', or remove lora.quantize",
            )
        if stage.generation == "vllm-server":
            placement(config, index)


def serves_cpu() -> bool:
    """Return True if vLLM is here with the plugin that lets weights be replaced on the CPU."""
    plugins = metadata.entry_points(group="vllm.general_plugins", name=_ON_CPU)
    return bool(plugins) and importlib.util.find_spec("vllm") is not None


def placement(config: RunConfig, index: int) -> Placement | None:
    """Return machine and GPUs of a stage's server; `None` if the run starts none for it.

    A server gets the GPUs of machine 0 without ranks, else the first machine without ranks.

    Raises:
        ConfigError: no GPU is left, or those of the configuration are in use or do not exist.
    """
    stage = config.stages[index]
    if stage.kind != "grpo" or stage.generation != "vllm-server" or stage.vllm.url is not None:
        return None
    if config.device == "cpu":
        return Placement(0, ())
    ranks = layout(config, index, machine=Machine(count=config.machines))
    taken, machine = ranks.local, 0
    if taken == config.per_machine and ranks.machines < config.machines:
        taken, machine = 0, ranks.machines
    free = tuple(range(taken, config.per_machine))
    wanted = stage.vllm.gpus
    if wanted is None:
        if free:
            return Placement(machine, free)
        raise ConfigError(
            f"stages.{index}: all {ranks.world_size} GPUs train, none is left for the vLLM server",
            hint=f"set stages.{index}.processes to fewer, or stages.{index}.vllm.url to a server",
        )
    if len(set(wanted)) != len(wanted) or not set(wanted) <= set(free) or not wanted:
        left = f"{', '.join(map(str, free))} are free" if free else "none is free"
        raise ConfigError(
            f"stages.{index}.vllm.gpus {wanted}: {left}",
            hint=f"use free ones, or set stages.{index}.processes to fewer",
        )
    return Placement(machine, tuple(wanted))


def command(model: str, config: RunConfig, settings: VllmConfig, *, gpus: int) -> list[str]:
    """Return the command line of a server that TRL can train with.

    It is the command of `trl vllm-serve` (TRL 1.16), which is deprecated. Images reach the server
    at the size that the limits of the run give, and those of its processor are looser, so that it
    leaves them as they are. The trainer replaces the weights of `model` before the first
    completion.
    """
    argv = python("-m", "vllm.entrypoints.cli.main", "serve", model)
    # anybody who reaches the server may replace the weights
    host = "127.0.0.1" if config.machines == 1 else "0.0.0.0"
    argv += ["--host", host, "--port", str(settings.port)]
    if config.device == "cpu":
        argv += ["--dtype", "float32", "--enforce-eager"]
    else:
        argv += ["--tensor-parallel-size", str(gpus)]
        argv += ["--gpu-memory-utilization", str(settings.memory or 0.9)]
    if settings.max_model_len is not None:
        argv += ["--max-model-len", str(settings.max_model_len)]
    if config.revision is not None and model == config.model:
        argv += ["--revision", config.revision]
    if config.trust_remote_code:
        argv += ["--trust-remote-code"]
    if config.min_pixels is not None or config.max_pixels is not None:
        low, high = loose_limits(config.min_pixels or 1, config.max_pixels or 1)
        limits = {"min_pixels": low} | ({"max_pixels": high} if config.max_pixels else {})
        argv += ["--mm-processor-kwargs", json.dumps(limits)]
    if _has_scale_out():
        argv += ["--enable-scale-out"]
    backend = "file" if config.device == "cpu" else "nccl"
    argv += ["--weight-transfer-config", json.dumps({"backend": backend})]
    argv += ["--worker-extension-cls", extension.CLASS]
    return [*argv, "--logprobs-mode", fitness.LOGPROBS, "--max-logprobs", "-1"]


def environment(visible: list[str], gpus: tuple[int, ...]) -> dict[str, str]:
    """Return the environment of a server: its GPUs, and the switch for endpoints of weights.

    `gpus` are positions among the ids of the `visible` GPUs; none: a server on the CPU.
    """
    found = isolated() | {"VLLM_SERVER_DEV_MODE": "1"}
    if not gpus:  # without a limit vLLM takes a share of all memory
        return {"VLLM_CPU_KVCACHE_SPACE": _CPU_CACHE_GIB, **found}
    return found | {"CUDA_VISIBLE_DEVICES": ",".join(visible[gpu] for gpu in gpus)}


@contextlib.contextmanager
def serving(
    argv: list[str],
    *,
    variables: dict[str, str],
    port: int,
    log: Path,
    timeout_s: float,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Callable[[], None]]:
    """Run a server in the context; yields a function that raises if the server has ended.

    `check` is called repeatedly until the server answers, and may raise.

    Raises:
        RunFailedError: it ended, or did not answer in time; names the log.
    """
    url = f"http://127.0.0.1:{port}"
    if fitness.taken(port):
        raise RunFailedError(
            f"another program has port {port}, which the vLLM server needs",
            hint="stop it, or set another port with stages.N.vllm.port",
        )
    with log.open("ab") as file:
        process = subprocess.Popen(
            argv,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def alive() -> None:
        if process.poll() is not None:
            raise RunFailedError(
                f"the vLLM server ended with exit status {process.returncode}: {_last_line(log)}",
                hint=f"its output is in {log}",
            )

    try:
        deadline = time.monotonic() + timeout_s
        while not fitness.answers(url):
            alive()
            check()
            if time.monotonic() > deadline:
                raise RunFailedError(
                    f"the vLLM server did not answer on port {port} within {timeout_s:g} s",
                    hint=f"its output is in {log}; vllm.start_timeout_s sets a longer limit",
                )
            time.sleep(0.5)
        yield alive
    finally:
        end_tree(process)
        end_session(process.pid)  # vLLM's engine outlives a server that was killed


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")


def _has_scale_out() -> bool:
    """Return True if vLLM serves images only with `--enable-scale-out`, as from 0.30 on."""
    from packaging.version import Version

    try:
        return Version(metadata.version("vllm")) >= Version("0.30.0")
    except metadata.PackageNotFoundError:
        return True
