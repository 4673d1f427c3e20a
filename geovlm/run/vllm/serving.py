"""The server of `geovlm serve`: its command, its environment, the check of its first answer."""

from __future__ import annotations

import base64
import json
import os
import shlex
import socket
import statistics
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from geovlm.errors import ConfigError, RunFailedError
from geovlm.run import files
from geovlm.run.process import isolated, python
from geovlm.run.vllm import tied

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the server is local
_ON_CPU = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; vLLM would take a share of all memory
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # other programs have cores too
}
_ANSWER_S = 120.0
"""Longest time for the first answer."""
WHOLE_TOKENS = 4096
"""Tokens that the server reads at once on the CPU, at least a whole prompt."""
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.05}
"""Largest mean difference of log-probabilities from those of transformers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """The answer of transformers about one image; every field survives JSON."""

    question: str
    prompt_ids: list[int]
    """Tokens of the prompt, those of the image included."""
    ids: list[int]
    logprobs: list[float]
    dtype: str
    """Type of the weights: `float32` or `bfloat16`."""
    max_positions: int
    """Longest sequence that the model takes, tokens."""
    settings: dict[str, int | str]
    """Keys of the configuration with which `geovlm eval` sends what transformers would see."""

    def write(self, folder: Path) -> None:
        """Write `known.json`."""
        files.write_json(folder / "known.json", asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Known:
        """Return what `write` wrote."""
        return cls(**files.read_json(folder / "known.json"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """A server as the user wants it."""

    name: str
    """Name of the model there."""
    host: str
    port: int
    gpus: int | None
    """GPUs that share the model; `None`: a server on the CPU."""
    memory: float | None
    """Share of a GPU's memory."""
    max_model_len: int | None
    """Longest prompt with its answer, tokens; `None`: the model's context."""
    images: int
    """Largest number of images of a prompt."""

    @property
    def url(self) -> str:
        """Address for programs on this machine."""
        return f"http://{'127.0.0.1' if self.host == '0.0.0.0' else self.host}:{self.port}"


def command(
    folder: Path, settings: Settings, *, known: Known, trust_remote_code: bool
) -> list[str]:
    """Return the command line of a server of the model in `folder`, tied to this process.

    On the CPU prompts are read whole: vLLM 0.30 fails there where one that is sampled with a seed
    is read in two parts (`GPUModelRunner._bookkeeping_sync`).
    """
    argv = python("-m", "vllm.entrypoints.cli.main", "serve", str(folder))
    argv += ["--host", settings.host, "--port", str(settings.port)]
    argv += ["--served-model-name", settings.name, "--dtype", known.dtype]
    argv += ["--limit-mm-per-prompt", json.dumps({"image": settings.images, "video": 0})]
    if settings.gpus is None:
        whole = max(settings.max_model_len or known.max_positions, WHOLE_TOKENS)
        argv += ["--enforce-eager", "--no-enable-chunked-prefill"]
        argv += ["--max-num-batched-tokens", str(whole)]
    else:
        argv += ["--tensor-parallel-size", str(settings.gpus)]
        argv += ["--gpu-memory-utilization", str(settings.memory or 0.9)]
    if settings.max_model_len is not None:
        argv += ["--max-model-len", str(settings.max_model_len)]
    if trust_remote_code:
        argv += ["--trust-remote-code"]
    return python(str(Path(tied.__file__)), str(os.getpid()), *argv)


def environment(*, on_cpu: bool) -> dict[str, str]:
    """Return the environment of the server; variables that the user has set keep their values."""
    return {"VLLM_NO_USAGE_STATS": "1", **(_ON_CPU if on_cpu else {}), **isolated()}


def require_free(host: str, port: int) -> None:
    """Refuse a port that another program has.

    Raises:
        ConfigError: it is taken, or the address is none of this machine.
    """
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError as error:
            raise ConfigError(
                f"port {port} of {host} cannot be taken: {error.strerror or error}",
                hint="stop the program that has it, or give another --port",
            ) from error


def body(name: str, question: str, image: str) -> dict[str, Any]:
    """Return a request about one image, given as a data URL."""
    content = [
        {"type": "image_url", "image_url": {"url": image}},
        {"type": "text", "text": question},
    ]
    return {"model": name, "messages": [{"role": "user", "content": content}], "temperature": 0}


def data_url(image: Path) -> str:
    """Return a PNG file as a data URL."""
    return f"data:image/png;base64,{base64.b64encode(image.read_bytes()).decode()}"


def curl(url: str, name: str, *, question: str, image: Path) -> str:
    """Return the line that asks the server about an image file, for a shell."""
    made = json.dumps(body(name, question, "IMAGE"))
    before, after = shlex.quote(made).split("IMAGE")
    file = shlex.quote(str(image))
    inside = f"""{before}data:image/png;base64,'"$(base64 -w0 {file})"'{after}"""
    return f"curl {url}/v1/chat/completions -H 'Content-Type: application/json' -d {inside}"


def evaluation(url: str, name: str, *, known: Known) -> str:
    """Return the line that evaluates the server's model, for a shell."""
    words = ["geovlm", "eval", "--model", f"openai:{name}", "--base-url", f"{url}/v1"]
    for key, value in known.settings.items():
        words += ["--set", f"{key}={value}"]
    return f"{shlex.join(words)} --tasks TASKS --output DIR"


def check(url: str, name: str, *, known: Known, image: Path, timeout_s: float = _ANSWER_S) -> float:
    """Ask about one image and compare with transformers; returns the mean difference.

    Raises:
        RunFailedError: the server does not answer, reads another prompt or has other weights.
    """
    asked = body(name, known.question, data_url(image)) | {
        "max_tokens": len(known.ids),
        "logprobs": True,
        "return_token_ids": True,
    }
    answer = _post(f"{url}/v1/chat/completions", asked, timeout_s=timeout_s)
    try:
        choice = answer["choices"][0]
        prompt, ids = list(answer["prompt_token_ids"]), list(choice["token_ids"])
        logprobs = [float(each["logprob"]) for each in choice["logprobs"]["content"]]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise RunFailedError(f"the server at {url} answers without token ids: {error!r}") from error
    if prompt != known.prompt_ids:
        raise RunFailedError(
            f"the server at {url} reads another prompt than transformers: {len(prompt)} tokens in "
            f"place of {len(known.prompt_ids)}; other pixel limits or chat template",
            hint="use the versions of constraints-vllm.txt",
        )
    differences = []
    for own, other, logprob, theirs in zip(known.ids, ids, known.logprobs, logprobs, strict=False):
        if own != other:
            break
        differences.append(abs(logprob - theirs))
    mean = statistics.fmean(differences) if differences else float("inf")
    if not mean <= TOLERANCE[known.dtype]:
        raise RunFailedError(
            f"the server at {url} answers otherwise than transformers: log-probabilities are "
            f"{mean:.2g} apart per token, {TOLERANCE[known.dtype]:g} are allowed",
            hint="use the versions of constraints-vllm.txt",
        )
    return mean


def _post(url: str, content: Mapping[str, Any], *, timeout_s: float) -> Any:
    sent = urllib.request.Request(
        url, json.dumps(content).encode(), {"Content-Type": "application/json"}
    )
    try:
        with _OPENER.open(sent, timeout=timeout_s) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        said = " ".join(error.read().decode(errors="replace").split())[:300]
        raise RunFailedError(f"{url} refuses a question about an image: {said}") from error
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise RunFailedError(
            f"{url} did not answer a question about an image within {timeout_s:g} s: {reason}"
        ) from error
