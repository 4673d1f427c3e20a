"""Places, starts, checks and ends the vLLM server of a GRPO stage.

Not yet run on a cluster: the command and the checks are tested, with a stand-in for the server.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from geovlm.config.model import loose_limits
from geovlm.errors import ConfigError, RunFailedError
from geovlm.run.machines import Machine
from geovlm.run.parallel import layout
from geovlm.run.process import end_tree, isolated, python
from geovlm.run.vllm import extension

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig
    from geovlm.config.stages import VllmConfig

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # servers are local
URL_VARIABLE = "GEOVLM_VLLM_URL"
"""Variable with the address of the server, for the processes of the stage."""
_LOGPROBS = "processed_logprobs"
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


def check_urls(config: RunConfig) -> None:
    """Refuse running servers of the configuration that TRL cannot train with."""
    for stage in config.stages:
        if stage.kind == "grpo" and stage.generation == "vllm-server" and stage.vllm.url:
            refuse_unfit(stage.vllm.url)


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
    return [*argv, "--logprobs-mode", _LOGPROBS, "--max-logprobs", "-1"]


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
    if _taken(port):
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
        while not _answers(url):
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


def refuse_unfit(url: str) -> None:
    """Refuse a server that does not answer, or that was started with other settings than TRL needs.

    Raises:
        ConfigError: it is unfit; the hint states how to start it.
    """
    hint = (
        "start it with VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --logprobs-mode processed_logprobs "
        '--max-logprobs -1 --weight-transfer-config \'{"backend": "nccl"}\' --enable-scale-out '
        f"--worker-extension-cls {extension.CLASS}"
    )
    if not url.startswith(("http://", "https://")):
        raise ConfigError(
            f"vllm.url {url!r} is not an address", hint="such as http://10.0.0.5:8000"
        )
    if not _answers(url):
        raise ConfigError(f"no vLLM server answers at {url}/health", hint=hint)
    try:
        with _OPENER.open(
            f"{url.rstrip('/')}/server_info?config_format=json", timeout=10
        ) as answer:
            info = json.load(answer)
        mode = info["vllm_config"]["model_config"]["logprobs_mode"]
        transfer = info["vllm_config"]["weight_transfer_config"]
        added = info["vllm_config"]["parallel_config"]["worker_extension_cls"]
    except (urllib.error.URLError, OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"the vLLM server at {url} does not report its settings: {error!r}", hint=hint
        ) from error
    if transfer is None:
        raise ConfigError(f"the vLLM server at {url} accepts no new weights", hint=hint)
    if added != extension.CLASS:
        raise ConfigError(
            f"the vLLM server at {url} cannot say which weights it has: it was started without "
            "GeoVLM's --worker-extension-cls",
            hint=hint,
        )
    if mode != _LOGPROBS:
        raise ConfigError(
            f"the vLLM server at {url} has --logprobs-mode {mode}: the importance ratios of GRPO "
            "would be biased",
            hint=hint,
        )


def _taken(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _answers(url: str) -> bool:
    try:
        with _OPENER.open(f"{url.rstrip('/')}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


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
