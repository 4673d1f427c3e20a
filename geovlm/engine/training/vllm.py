"""Chooses what writes GRPO's completions: the trainer, vLLM on the same GPUs, or a vLLM server.

Run with vLLM on the CPU; not yet on a GPU.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from accelerate import PartialState
from huggingface_hub import snapshot_download

from geovlm.api import ModelProfile
from geovlm.config.model import source as model_source
from geovlm.config.schema import RunConfig
from geovlm.config.stages import GrpoStage
from geovlm.data.prompts import Prompt, visual_tokens
from geovlm.engine.writers import linked
from geovlm.errors import ConfigError
from geovlm.run.vllm.server import URL_VARIABLE

COLOCATED_TOKENS = 4096
"""Most tokens of one image where vLLM shares the trainer's GPUs: TRL 1.16 fixes its
`max_num_batched_tokens`, and vLLM takes an image in one batch."""
_NEVER = -100.0
"""vLLM's lowest bias of a token."""


def arguments(
    settings: GrpoStage, *, on_cpu: bool, suppress: Sequence[int], stops: Sequence[int] = ()
) -> dict[str, Any]:
    """Return the trainer's arguments of generation.

    vLLM reads the tokens that end a completion from the files of the weights, where the end of a
    turn may be missing; `stops` are all of them.

    A placeholder of an image in a completion would not match the images: both ways exclude it. vLLM
    reports log-probabilities after temperature and bias: TRL sets this where vLLM shares the GPUs,
    and `geovlm.run.vllm.server` starts a server with it.
    """
    if settings.generation == "transformers":
        return {"generation_kwargs": {"suppress_tokens": list(suppress)} if suppress else {}}
    vllm = settings.vllm
    sampling: dict[str, Any] = {}
    if suppress:
        sampling["logit_bias"] = dict.fromkeys(suppress, _NEVER)
    if stops:
        sampling["stop_token_ids"] = list(stops)
    made: dict[str, Any] = {"use_vllm": True, "generation_kwargs": sampling}
    if settings.generation == "vllm-server":
        url = vllm.url or os.environ.get(URL_VARIABLE) or f"http://127.0.0.1:{vllm.port}"
        return {**made, "vllm_mode": "server", "vllm_server_base_url": url}
    return {
        **made,
        "vllm_mode": "colocate",
        "vllm_enable_sleep_mode": not on_cpu,
        "vllm_gpu_memory_utilization": vllm.memory or 0.3,
        "vllm_max_model_length": vllm.max_model_len,
    }


def refuse_large_images(prompts: Iterable[Prompt], *, task: str, profile: ModelProfile) -> None:
    """Refuse images that vLLM on the trainer's GPUs cannot take.

    Raises:
        ConfigError: names the sample and its tokens.
    """
    for prompt in prompts:
        for size in prompt.picture_sizes:
            tokens = visual_tokens([size], profile=profile)
            if tokens > COLOCATED_TOKENS:
                raise ConfigError(
                    f"sample {prompt.sample_id!r} of task {task!r} has an image of {tokens} "
                    f"tokens, vLLM on the trainer's GPUs takes {COLOCATED_TOKENS}",
                    hint="lower max_pixels, or use generation='vllm-server'",
                )


def pinned(start: str, config: RunConfig) -> str:
    """Return the path or name of the weights at `start` for TRL, which ignores the revision."""
    if start != config.model or config.revision is None or Path(start).is_dir():
        return start
    return snapshot_download(start, revision=config.revision)


def served(
    start: str, config: RunConfig, *, processor: Any, profile: ModelProfile, folder: Path
) -> str:
    """Return weights whose processor shows images as the trainer's does, for vLLM to load.

    They are linked into a folder with such a processor; the main process writes it. Images that
    GeoVLM resizes reach vLLM at their final size, and its own resize must leave them so. Where the
    processor resizes, weights of an earlier stage have the limits of the run, and others need the
    folder only if the run sets some.
    """
    is_sized = profile.resize == "multiples"
    sets_limits = config.min_pixels is not None or config.max_pixels is not None
    if not is_sized and (start != model_source(config.model) or not sets_limits):
        return pinned(start, config)
    state = PartialState()
    if state.is_main_process:
        linked.link(start, config, processor=processor, folder=folder, as_sized=is_sized)
    state.wait_for_everyone()
    return str(folder)
