"""Refuses a vLLM server with which TRL cannot train, and a port that is taken."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from geovlm.errors import ConfigError
from geovlm.run.vllm import extension

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig

LOGPROBS = "processed_logprobs"
"""Value of `--logprobs-mode`: those of the distribution that vLLM samples from."""
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # servers are local


def check_servers(config: RunConfig) -> None:
    """Refuse running servers that TRL cannot train with, and taken ports of those to be started.

    Raises:
        ConfigError: names the server or the port.
    """
    for index, stage in enumerate(config.stages):
        if stage.kind != "grpo" or stage.generation != "vllm-server":
            continue
        if stage.vllm.url:
            refuse_unfit(stage.vllm.url)
        elif config.machines == 1 and taken(stage.vllm.port):
            raise ConfigError(
                f"another program has port {stage.vllm.port}, which the vLLM server needs",
                hint=f"stop it, or set another port with stages.{index}.vllm.port",
            )


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
    if not answers(url):
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
    if mode != LOGPROBS:
        raise ConfigError(
            f"the vLLM server at {url} has --logprobs-mode {mode}: the importance ratios of GRPO "
            "would be biased",
            hint=hint,
        )


def answers(url: str) -> bool:
    """Return True if a server at `url` says that it is in order."""
    try:
        with _OPENER.open(f"{url.rstrip('/')}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def taken(port: int) -> bool:
    """Return True if a program listens on a port of this machine."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
