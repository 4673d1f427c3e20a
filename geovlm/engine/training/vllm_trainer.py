"""The trainer of stages whose completions vLLM writes: it trusts nothing that it can compare.

A run ends before it trains on completions whose log-probabilities, as vLLM reports them, are not
those of the trainer.
"""

from __future__ import annotations

from typing import Any

from geovlm.config import health
from geovlm.engine.rows import rendering
from geovlm.engine.speedups.grpo_trainer import GroupTrainer
from geovlm.engine.training import agreement


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
        agreement.refuse_dropout(self.model)
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        ratio = output.get("importance_sampling_ratio")
        if ratio is None:
            self._note(
                "the comparison with vLLM's log-probabilities",
                "vllm_importance_sampling_correction is false",
            )
            return output
        agreement.require_logprobs(
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
