"""The trainer of stages whose completions vLLM writes: it trusts nothing that it can compare.

A run ends before it trains on completions whose log-probabilities, as vLLM reports them, are not
those of the trainer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from geovlm.config import health
from geovlm.engine.rows import rendering
from geovlm.engine.speedups.grpo_trainer import GroupTrainer
from geovlm.errors import RunFailedError

TOLERANCES: Mapping[torch.dtype, float] = {
    torch.float32: 1e-3,
    torch.bfloat16: 0.1,
    torch.float16: 0.1,
}
"""Precision -> largest mean difference of log-probabilities of a batch, nats per token. In float32
up to 1.3e-4 was seen in correct runs of the built-in model, in bfloat16 0.02; faults begin at 0.01
and 0.17."""


class VllmTrainer(GroupTrainer):
    """`GroupTrainer` with completions of vLLM, built within `trl_vllm.installed`."""

    model: Any
    processing_class: Any
    vllm_generation: Any
    """A `geovlm.engine.training.trl_vllm.Generation`."""

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[Any, Any, dict[str, Any]]:
        made = super()._tokenize_prompts(prompts)
        texts = [rendering.prompt(self.processing_class, said) for said in prompts]
        ids = self.processing_class.tokenizer(texts, add_special_tokens=False)["input_ids"]
        self.vllm_generation.unexpanded = ids
        return made

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        refuse_dropout(self.model)
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        ratio = output.get("importance_sampling_ratio")
        if ratio is None:
            self._note(
                "the comparison with vLLM's log-probabilities",
                "vllm_importance_sampling_correction is false",
            )
            return output
        require_agreement(
            output["old_per_token_logps"],
            output["sampling_per_token_logps"],
            output["completion_mask"],
            dtype=self.vllm_generation.dtype,
        )
        masked = (ratio == 0).all(dim=-1).float().mean()
        mode = "train" if self.model.training else "eval"
        found = self.accelerator.gather(masked).mean().item()
        self._metrics[mode][health.MASKED].append(found)
        return output


def refuse_dropout(model: torch.nn.Module) -> None:
    """Refuse a model that would score completions with dropout, which vLLM never has.

    Raises:
        RunFailedError: names the first module.
    """
    if not model.training:
        return
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Dropout) and module.p:
            raise RunFailedError(
                f"dropout is on while completions are scored: {name} drops {module.p:g}",
                hint="leave out trainer.disable_dropout, or use generation='transformers'",
            )


def require_agreement(trainer: Tensor, vllm: Tensor, mask: Tensor, *, dtype: torch.dtype) -> None:
    """Refuse a batch whose log-probabilities (rows, tokens) differ; `mask` is 1 at their tokens.

    Tokens without a log-probability of vLLM, NaN, do not count.

    Raises:
        RunFailedError: their mean difference is above `TOLERANCES`; names the first such row.
    """
    counted = mask.bool() & ~vllm.isnan()
    apart = torch.where(counted, (trainer - vllm).abs(), 0.0).double()
    limit = TOLERANCES[dtype]
    mean = float(apart.sum() / counted.sum().clamp(min=1))
    if mean <= limit:
        return
    rows = apart.sum(dim=-1) / counted.sum(dim=-1).clamp(min=1)
    first = int((rows > limit).nonzero()[0])
    raise RunFailedError(
        f"row {first}: vLLM and the trainer give its completion other log-probabilities, "
        f"{float(rows[first]):.2g} apart per token; over all {len(rows)} rows {mean:.2g}, the "
        f"limit in {str(dtype).removeprefix('torch.')} is {limit:g}",
        hint="run geovlm doctor, or use generation='transformers'",
    )
