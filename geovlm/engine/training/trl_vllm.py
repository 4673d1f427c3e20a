"""Gets round what TRL 1.16 does wrong with vLLM and images, and checks what vLLM really did.

Each part can go when its issue is fixed: a test with "still" in its name fails then.

- huggingface/trl#6294: in one process, vLLM gets prompts whose image tokens are expanded already,
  and expands them again.
- huggingface/trl#7198: vLLM keeps features of the vision tower over a sync of its weights.
- TRL takes weights and dtype of vLLM from `model.name_or_path`, which no later change reaches.
- TRL's requests to a server have no time limit, and weights reach a server by NCCL alone.

What is checked: the tokens of every prompt, the sums of every weight after a sync.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import requests
import torch
from requests.adapters import HTTPAdapter, Retry
from trl.generation import vllm_generation
from trl.generation.vllm_client import VLLMClient
from trl.generation.vllm_generation import VLLMGeneration
from trl.trainer import grpo_trainer

from geovlm.engine.training import agreement
from geovlm.errors import RunFailedError
from geovlm.run.vllm import extension, weights

_SHOWN = 3
_CPU_CACHE_GIB = "2"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Inputs that TRL does not pass on."""

    weights: str
    """Folder or hub name from which vLLM in this process loads model and processor."""
    dtype: torch.dtype
    """Precision of the trainer's weights."""
    on_cpu: bool
    timeout_s: float
    """Seconds for one answer of a server."""


@contextmanager
def installed(options: Options) -> Iterator[None]:
    """Let TRL build `Generation` where it would build its own, for a trainer made meanwhile."""

    def build(**given: Any) -> Generation:
        return Generation(options=options, **given)

    with mock.patch.object(grpo_trainer, "VLLMGeneration", build):
        yield


class Generation(VLLMGeneration):
    """TRL's generation by vLLM, with checks.

    Args:
        options: what TRL does not pass on.
    """

    def __init__(self, *, options: Options, **given: Any) -> None:
        self._options = options
        self._sent: dict[str, tuple[float, float]] = {}
        self.unexpanded: list[list[int]] = []
        """The prompts that are generated next, with the placeholders of the chat template."""
        super().__init__(**given)

    @property
    def dtype(self) -> torch.dtype:
        """Precision in which both compute."""
        return self._options.dtype

    def _init_vllm(self) -> None:
        options = self._options
        own: dict[str, Any] = {"model": options.weights, "dtype": _name(options.dtype)}
        client: Any = _Client
        if options.on_cpu:
            # without a limit vLLM takes a share of all memory
            os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", _CPU_CACHE_GIB)
            own |= {"enforce_eager": True}
            client = _FileClient
        with (
            _named(self),
            mock.patch.multiple(
                vllm_generation,
                LLM=lambda **given: _llm(**{**given, **own}),
                VLLMClient=lambda **given: client(timeout_s=options.timeout_s, **given),
            ),
        ):
            super()._init_vllm()

    def _iter_named_params(self) -> Iterator[tuple[str, Any]]:
        for name, weight in super()._iter_named_params():
            self._sent[name] = weights.sums(weight, dtype=self._options.dtype)
            yield name, weight

    def sync_weights(self) -> None:
        """Send the weights, forget all features of images, and compare what vLLM holds.

        Raises:
            RunFailedError: a weight did not arrive, or old features stay; names them.
        """
        self._sent = {}
        with _named(self):
            super().sync_weights()
            self.forget_images()
            there = self._held()
        images = sum(each.images for each in there)
        if images:
            raise RunFailedError(
                f"vLLM still holds features of {images} images, which the vision tower made with "
                "its weights before the sync",
                hint=agreement.UNTESTED,
            )
        wrong = weights.differing(self._sent, there) if there else []
        if wrong:
            more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
            raise RunFailedError(
                f"vLLM has not got the trained weights: {', '.join(wrong[:_SHOWN])}{more} differ "
                f"after the sync, of {len(self._sent)} that were sent",
                hint=agreement.UNTESTED,
            )

    def forget_images(self) -> None:
        """Drop the features that the old vision tower made (huggingface/trl#7198)."""
        if self.mode == "colocate":
            self.llm.llm_engine.engine_core.reset_encoder_cache()
        elif self.accelerator.is_main_process:
            self.vllm_client.reset_encoder_cache()

    def _held(self) -> list[weights.Held]:
        """Return the weights of every process of vLLM; none where another rank asks for them."""
        if self.mode == "server":
            if not self.accelerator.is_main_process:
                return []
            return self.vllm_client.held(list(self._sent))
        runner = self.llm.llm_engine.model_executor.driver_worker.model_runner
        own = weights.held(runner, self._sent)
        if self.tensor_parallel_size == 1:
            return [own]
        parts: list[Any] = [None] * self.tensor_parallel_size
        torch.distributed.all_gather_object(parts, own, group=self.tp_group)
        return parts

    def generate(
        self,
        prompts: list[list[int]],
        images: list[list[Any] | None] | None,
        num_generations: int,
        profiler: Any = None,
    ) -> Any:
        """Return what TRL does, for the prompts as the trainer scores them.

        Raises:
            RunFailedError: vLLM answered another prompt; names the first row.
        """
        given = prompts
        if self.mode == "colocate" and images is not None:
            given = self.asked(prompts)
        with _named(self):
            used, *found = super().generate(given, images, num_generations, profiler)
        token = getattr(self.processing_class, "image_token_id", None)
        agreement.require_prompts(prompts, used, token=token)
        return used, *found

    def asked(self, prompts: list[list[int]]) -> list[list[int]]:
        """Return prompts as vLLM wants them: one placeholder per image (huggingface/trl#6294)."""
        assert len(self.unexpanded) == len(prompts), "prompts that the trainer did not announce"
        return self.unexpanded

    def _place_features(self, features: Any, prompt_ids: list[int]) -> Any:
        placed: Any = super()._place_features(features, prompt_ids)
        if features is None:
            return placed
        made, own = (
            [each["length"] for each in one["mm_placeholders"]["image"]]
            for one in (features, placed)
        )
        if made != own:
            raise RunFailedError(
                f"the vLLM server makes {made} tokens of the images of a prompt, the trainer "
                f"{own}: pixel limits differ",
                hint="start it with the limits of the run: --mm-processor-kwargs",
            )
        return placed


class _Patient(HTTPAdapter):
    """Gives up on an answer that takes too long."""

    def __init__(self, timeout_s: float, **given: Any) -> None:
        self._timeout_s = timeout_s
        super().__init__(**given)

    def send(self, request: Any, *args: Any, **given: Any) -> Any:
        given["timeout"] = given.get("timeout") or self._timeout_s
        return super().send(request, *args, **given)


class _Client(VLLMClient):
    """TRL's client, with a limit of time and the weights that the server holds."""

    def __init__(self, *, timeout_s: float, **given: Any) -> None:
        self._timeout_s = timeout_s
        super().__init__(**given)
        # a server that is gone or hangs is not asked again and again
        retries = Retry(total=2, connect=2, read=0, status=0, backoff_factor=0.5)
        for scheme in ("http://", "https://"):
            adapter = _Patient(timeout_s, max_retries=retries, pool_maxsize=64)
            self.session.mount(scheme, adapter)

    def check_server(self, total_timeout: float = 0.0, retry_interval: float = 2.0) -> None:
        """Wait until the server answers; TRL's own has no limit for one answer."""
        ends = time.monotonic() + min(total_timeout, self._timeout_s)
        while True:
            try:
                answer = requests.get(f"{self.base_url}/health", timeout=retry_interval)
                answer.raise_for_status()
                return
            except requests.RequestException:
                if time.monotonic() > ends:
                    raise
            time.sleep(min(retry_interval, 0.5))

    def reset_encoder_cache(self) -> None:
        """Let the server forget the features of images."""
        self._act("reset_encoder_cache")

    def held(self, sent: Sequence[str]) -> list[weights.Held]:
        """Return the weights of each worker of the server."""
        asked = {"method": extension.METHOD, "args": list(sent)}
        answer = self._post(f"{self.base_url}/collective_rpc", json=asked)
        return [weights.Held(**each) for each in answer["results"]]

    def _act(self, path: str, **body: Any) -> None:
        answer = self.session.post(f"{self.base_url}/{path}", json=body or None)
        answer.raise_for_status()


class _FileClient(_Client):
    """Sends weights to a server on this machine through a file: NCCL needs GPUs."""

    def init_communicator(self, device: Any = 0) -> None:
        """Prepare the server's backend `file`."""
        self._act("init_weight_transfer_engine", init_info={})

    def update_named_params(self, metadata: Any, named_params: Any) -> None:
        """Write the weights into a file that the server reads."""
        from safetensors.torch import save_file

        with tempfile.TemporaryDirectory(prefix="geovlm-weights-") as folder:
            path = Path(folder) / "weights.safetensors"
            save_file({name: each.detach().cpu().clone() for name, each in named_params}, path)
            self._act("start_weight_update")
            self._act("update_weights", update_info={"path": str(path)})
            self._act("finish_weight_update")


@contextmanager
def _named(generation: Generation) -> Iterator[None]:
    """Say in one line that a server does not answer."""
    try:
        yield
    except (requests.RequestException, ConnectionError) as error:
        late = isinstance(error, requests.Timeout)
        found = f"within {generation._options.timeout_s:g} s" if late else "any more"
        raise RunFailedError(
            f"the vLLM server at {generation.server_base_url} does not answer {found}",
            hint="see vllm.txt in the stage's folder; then geovlm run --resume",
        ) from error


def _llm(**given: Any) -> Any:
    from vllm import LLM

    return LLM(**given)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
