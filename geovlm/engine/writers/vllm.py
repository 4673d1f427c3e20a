"""Answers by vLLM in this process."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from geovlm.api import ModelProfile
from geovlm.config.schema import RunConfig
from geovlm.data.prompts import visual_tokens
from geovlm.engine.generation import generate
from geovlm.engine.models import load
from geovlm.engine.rows import tokens
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Row
from geovlm.engine.writers import linked, prompts, reference
from geovlm.engine.writers.writer import Expected
from geovlm.errors import RunFailedError
from geovlm.plugins.registry import Registry

NEVER = -100.0
"""vLLM's lowest bias of a token."""
WHOLE_TOKENS = 4096
"""Tokens that vLLM reads at once on the CPU, at least a whole prompt."""
SPARE = 64
"""Tokens by which a prompt may be longer than those that are known at the start."""
_ON_CPU = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; vLLM would take a share of all memory
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # the process keeps its cores and its threads
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # no process of its own: nothing to free on a GPU
}
"""Variables of vLLM on the CPU, unless the user sets them."""
_QUIET = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}


@dataclass(eq=False)
class Vllm:
    """A model that vLLM loads at the first question, after transformers has answered some rows."""

    path: str
    """Folder or hub name of the weights."""
    config: RunConfig
    registry: Registry
    processor: Any
    profile: ModelProfile
    _job: Expected | None = field(default=None, init=False)
    _engine: Any = field(default=None, init=False)
    _stops: list[int] = field(default_factory=list, init=False)
    _never: dict[int, float] = field(default_factory=dict, init=False)
    _folder: tempfile.TemporaryDirectory[str] | None = field(default=None, init=False)

    def expect(self, job: Expected) -> None:
        """See `Writer.expect`."""
        self._job = job

    def complete(
        self,
        rows: Sequence[Row],
        *,
        cache: ImageCache,
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[str]:
        """See `Writer.complete`; a sampled answer depends on its own row and the seed alone.

        Raises:
            RunFailedError: vLLM does not start, or does not answer as transformers does.
        """
        if self._engine is None:
            self._start(rows)
        seeds = [prompts.seed_of(seed, row) if temperature else None for row in rows]
        settings = [
            self._sampling(max_tokens=max_new_tokens, temperature=temperature, seed=each)
            for each in seeds
        ]
        answers = self._ask(rows, settings, cache=cache)
        return tokens.texts(self.processor, [each.ids for each in answers])

    def close(self) -> None:
        """See `Writer.close`."""
        if self._engine is not None:
            self._engine = None
            _forget()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _start(self, rows: Sequence[Row]) -> None:
        """Load the model twice, one after the other, and compare.

        Raises:
            RunFailedError: see `complete`.
        """
        job = self._job or Expected(rows, ImageCache(), reference.TOKENS)
        started = time.monotonic()
        loaded = load.load(self.path, self.config, registry=self.registry)
        references = reference.answer(loaded, reference.choose(job.rows), cache=job.cache)
        self._stops = list(loaded.chat.stops)
        self._never = dict.fromkeys(generate.image_tokens(self.processor) or (), NEVER)
        dtype = loaded.model.dtype
        most = load.max_positions(loaded.model.config, self.processor.tokenizer)
        del loaded
        load.free()
        needed = prompts.longest(self.processor, job.rows, profile=self.profile)
        needed += job.max_new_tokens + SPARE
        length = self.config.answering.max_model_len or min(most, needed)
        self._folder = tempfile.TemporaryDirectory(prefix="geovlm-vllm-")
        folder = linked.link(
            self.path,
            self.config,
            processor=self.processor,
            folder=Path(self._folder.name) / "model",
            as_sized=self.profile.resize == "multiples",
        )
        self._engine = _engine(
            folder, self.config, dtype=dtype, length=length, images=prompts.most_images(job.rows)
        )
        settings = self._sampling(max_tokens=reference.TOKENS, temperature=0.0, seed=None)
        rows = [each.row for each in references]
        answers = self._ask(rows, [settings] * len(rows), cache=job.cache)
        difference = reference.compare(
            references,
            answers,
            tolerance=self.config.answering.tolerance or reference.TOLERANCE[dtype],
            who="vLLM",
        )
        print(
            f"vLLM: started in {time.monotonic() - started:.0f} s; log-probabilities of "
            f"{len(rows)} samples are {difference:.1g} from those of transformers per token",
            file=sys.stderr,
            flush=True,
        )

    def _sampling(self, *, max_tokens: int, temperature: float, seed: int | None) -> Any:
        from vllm import SamplingParams

        return SamplingParams(
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
            stop_token_ids=self._stops,
            logit_bias=self._never or None,
            logprobs=0,
            detokenize=False,
        )

    def _ask(
        self, rows: Sequence[Row], settings: Sequence[Any], *, cache: ImageCache
    ) -> list[reference.Answer]:
        """Return vLLM's answers.

        Raises:
            RunFailedError: a prompt was expanded to another length than it has.
        """
        made = prompts.of(self.processor, rows, cache=cache)
        outputs = self._engine.generate(
            [each.for_vllm() for each in made], list(settings), use_tqdm=False
        )
        answers = []
        for row, prompt, output in zip(rows, made, outputs, strict=True):
            require_length(row, prompt, len(output.prompt_token_ids), profile=self.profile)
            one = output.outputs[0]
            ids = [int(each) for each in one.token_ids]
            chances = [found[token].logprob for found, token in zip(one.logprobs, ids, strict=True)]
            answers.append(reference.Answer(list(output.prompt_token_ids), ids, chances))
        return answers


def require_length(row: Row, prompt: prompts.Prompt, found: int, *, profile: ModelProfile) -> None:
    """Refuse a prompt that vLLM expanded to another number of tokens than the model's processor.

    It is known without processing the images where they are cut into equal cells.

    Raises:
        RunFailedError: names the sample.
    """
    if profile.image_tokens is not None or profile.cell_tokens != 1:
        return
    expected = len(prompt.ids) - len(row.images) + visual_tokens(row.picture_sizes, profile=profile)
    if found != expected:
        raise RunFailedError(
            f"vLLM reads {found} tokens in place of {expected} in sample {row.sample_id!r} of task "
            f"{row.task!r}: it has other pixel limits or another chat template",
            hint="start the server by geovlm serve with the same settings",
        )


def _engine(
    folder: Path, config: RunConfig, *, dtype: torch.dtype, length: int, images: int
) -> Any:
    """Return vLLM's engine.

    Raises:
        RunFailedError: it does not start.
    """
    on_cpu = load.device(config) == "cpu"
    for name, value in (_QUIET | (_ON_CPU if on_cpu else {})).items():
        os.environ.setdefault(name, value)
    from vllm import LLM

    options: dict[str, Any] = {"gpu_memory_utilization": config.answering.memory or 0.9}
    if on_cpu:
        # compiling takes longer than it saves; and vLLM 0.30 fails on the CPU where a prompt that
        # is sampled with a seed is read in two parts (`GPUModelRunner._bookkeeping_sync`)
        options = {"enforce_eager": True, "enable_chunked_prefill": False}
        options["max_num_batched_tokens"] = max(length, WHOLE_TOKENS)
    try:
        return LLM(
            model=str(folder),
            dtype=str(dtype).removeprefix("torch."),
            max_model_len=length,
            limit_mm_per_prompt={"image": images, "video": 0},
            trust_remote_code=config.trust_remote_code,
            seed=config.seed,
            disable_log_stats=True,
            **options,
        )
    except (RuntimeError, ValueError, OSError, AssertionError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunFailedError(
            f"vLLM does not start: {said}",
            hint="its own lines are above; use generation transformers, or set answering.memory or "
            "answering.max_model_len",
        ) from error


def _forget() -> None:
    """Free what vLLM holds in this process."""
    from vllm.distributed import cleanup_dist_env_and_memory

    load.free()
    cleanup_dist_env_and_memory()
