"""A faster `GRPOTrainer` with identical losses and gradients.

Each prompt is encoded once per group; prompts of similar length are generated together.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from accelerate.utils import DistributedType
from torch import Tensor
from trl import GRPOTrainer

from geovlm.engine.speedups import merged, shared_prefill, trial
from geovlm.engine.speedups.shared_prompt import Row, grouped, pack, refusal_of, split
from geovlm.errors import ConfigError

_IMAGE_FIELDS = {"pixel_values", "image_grid_thw", "num_images", "mm_token_type_ids"}
"""Fields that TRL passes for images of families with `image_grid_thw`."""
_PREFILLED = ("image_grid_thw", "pixel_values")


UNPADDED: Mapping[str, Any] = {"processor_kwargs": {"padding": False}}
"""Arguments of `apply_chat_template` that tokenize prompts. Some processors pad a batch by default,
as Gemma 4's, and TRL 1.16 takes all ids that it gets for those of the prompt."""


class GroupTrainer(GRPOTrainer):
    """`GRPOTrainer` that gives the same losses and gradients.

    Args:
        share_prompt: compute a prompt once for all its completions in a batch, when they are
            written and when they are scored. What cannot be shared takes the ordinary way, with
            one line that says why; so do batches without repeated prompts.
        merge_adapters: merge LoRA adapters into the weights while the trainer writes completions,
            where that loses nothing, see `merged.refusal`.
        rows_per_generation: prompts that are generated at once, those of similar length
            together: a batch lasts until its longest completion ends. `None`: all of a step. vLLM
            and transformers' continuous batching schedule by themselves and ignore it.
    """

    def __init__(
        self,
        *,
        share_prompt: bool = True,
        merge_adapters: bool = True,
        rows_per_generation: int | None = None,
        **kwargs: Any,
    ) -> None:
        self._share_prompt = share_prompt
        self._merge_adapters = merge_adapters
        self._rows_per_generation = rows_per_generation
        self._noted: set[str] = set()
        # before the trainer may split the model over processes
        unshared = trial.prompts(_inner(kwargs["model"])) if share_prompt else ""
        super().__init__(**kwargs)
        if unshared:
            self._share_prompt = False
            self._note("share_prompt", unshared)

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **images: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        inner = _inner(self.accelerator.unwrap_model(model))
        rows = None
        if self._share_prompt and self._packs(inner, images, aux_loss=compute_aux_loss):
            rows = split(input_ids, attention_mask, n_completion=logits_to_keep, **images)
        if rows is None or len(grouped(rows)) == len(rows):
            return super()._get_per_token_logps_and_entropies(
                model,
                input_ids,
                attention_mask,
                logits_to_keep,
                batch_size=batch_size,
                compute_entropy=compute_entropy,
                compute_aux_loss=compute_aux_loss,
                **images,
            )
        logps, entropies = [], []
        size = batch_size or len(rows)
        for start in range(0, len(rows), size):  # as many passes as the ordinary way, on every rank
            part = rows[start : start + size]
            packed = pack(part, model=inner.base_model)
            with self.accelerator.autocast():
                outputs = model(**packed.inputs, fused_lm_head=True)
            shape = (len(part), logits_to_keep)
            logps.append(packed.unpack(outputs.log_probs, shape))
            if compute_entropy:
                entropies.append(packed.unpack(outputs.entropy, shape))
        return torch.cat(logps), torch.cat(entropies) if compute_entropy else None, None

    def _merged(self) -> AbstractContextManager[None]:
        model = self.accelerator.unwrap_model(self.model_wrapped)
        parts = self.accelerator.distributed_type in (
            DistributedType.FSDP,
            DistributedType.DEEPSPEED,
        )
        if not self._merge_adapters or parts or merged.refusal(model):
            return nullcontext()
        return merged.merged(model)

    def _packs(self, model: Any, images: Mapping[str, Any], *, aux_loss: bool) -> bool:
        """Return True if a batch can be packed; else say once why not."""
        why = refusal_of(model, images)
        if aux_loss:
            why = "the auxiliary loss of its experts counts the tokens of every row"
        if why:
            self._note("share_prompt", why)
        return not why

    def _note(self, setting: str, why: str) -> None:
        if why not in self._noted and self.accelerator.is_main_process:
            print(f"note: {setting} is not used: {why}", file=sys.stderr, flush=True)
        self._noted.add(why)

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[Any, Any, dict[str, Any]]:
        given: Any = self.chat_template_kwargs
        self.chat_template_kwargs = {**given, **UNPADDED}
        try:
            made: tuple[Any, Any, dict[str, Any]] = super()._tokenize_prompts(prompts)
        finally:
            self.chat_template_kwargs = given
        return made

    def _generate_single_turn(
        self,
        prompt_ids: list[list[int]],
        images: list[list[Any] | None] | None,
        multimodal_fields: dict[str, Any],
        num_generations: int,
        has_tool_images: bool = False,
    ) -> tuple[list[list[int]], list[list[float]] | None]:
        size = self._rows_per_generation
        if self.use_vllm or self.use_transformers_continuous_batching:
            return super()._generate_single_turn(
                prompt_ids, images, multimodal_fields, num_generations, has_tool_images
            )
        if size is None or len(prompt_ids) <= size:
            return self._complete(
                prompt_ids, images, multimodal_fields, num_generations, has_tool_images
            ), None
        order = sorted(range(len(prompt_ids)), key=lambda i: len(prompt_ids[i]), reverse=True)
        token = getattr(self.accelerator.unwrap_model(self.model).config, "image_token_id", -1)
        fields = _by_row(
            multimodal_fields,
            images,
            n_rows=len(prompt_ids),
            n_tokens=[ids.count(token) for ids in prompt_ids],
        )
        found: dict[int, list[int]] = {}
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            completions = self._complete(
                [prompt_ids[i] for i in chosen],
                None if images is None else [images[i] for i in chosen],
                _joined([fields[i] for i in chosen]),
                num_generations,
                has_tool_images,
            )
            found.update(zip(chosen, completions, strict=True))
        return [found[i] for i in range(len(order))], None

    def _complete(
        self,
        prompt_ids: list[list[int]],
        images: list[list[Any] | None] | None,
        fields: dict[str, Any],
        num_generations: int,
        has_tool_images: bool,
    ) -> list[list[int]]:
        """Return completions by `generate`, reading a prompt that is repeated once."""
        sharing: AbstractContextManager[None] = nullcontext()
        has_sizes = ("pixel_values" in fields) == ("image_grid_thw" in fields)
        if self._share_prompt and has_sizes and set(fields) <= _IMAGE_FIELDS:
            groups = _alike(prompt_ids, images, fields)
            if len(groups) < len(prompt_ids):
                sharing = shared_prefill.shared(
                    _inner(self.accelerator.unwrap_model(self.model_wrapped)),
                    groups,
                    [len(each or []) for each in images or [None] * len(prompt_ids)],
                )
        with self._merged(), sharing:
            completions, _ = super()._generate_single_turn(
                prompt_ids, images, fields, num_generations, has_tool_images
            )
        return completions


def _inner(model: Any) -> Any:
    """Return the model without adapters around it; those inside stay."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _alike(
    prompt_ids: Sequence[Sequence[int]],
    images: Sequence[Sequence[Any] | None] | None,
    fields: Mapping[str, Any],
) -> list[list[int]]:
    """Return the positions of prompts with the same tokens and images, in order of appearance."""
    nothing = torch.empty(0)
    return grouped(
        [
            Row(
                prompt=torch.tensor(ids),
                kinds=None,
                completion=nothing,
                columns=nothing,
                images={name: part[name] for name in _PREFILLED if name in part},
            )
            for ids, part in zip(
                prompt_ids, _by_row(fields, images, n_rows=len(prompt_ids)), strict=True
            )
        ]
    )


def _by_row(
    fields: Mapping[str, Any],
    images: Sequence[Sequence[Any] | None] | None,
    *,
    n_rows: int,
    n_tokens: Sequence[int] = (),
) -> list[dict[str, Any]]:
    """Return every row's part of what the processor made of all rows.

    `fields` hold the patches of all images (`pixel_values`), or one entry per image, row or tile.
    `n_tokens` are the image tokens of every row: each tile has as many as every other.

    Raises:
        ConfigError: a field has another number of entries.
    """
    counts = [len(each or []) for each in images] if images is not None else [0] * n_rows
    arrays = {name: _array(value) for name, value in fields.items()}
    parts: list[dict[str, Any]] = [{} for _ in range(n_rows)]
    for name, value in arrays.items():
        pieces: Sequence[Any]
        if name == "pixel_values" and "image_grid_thw" in arrays:
            per_image = arrays["image_grid_thw"].prod(dim=-1).split(counts)
            pieces = value.split([int(each.sum()) for each in per_image])
        elif len(value) == sum(counts) and isinstance(value, Tensor):
            pieces = value.split(counts)
        elif len(value) == n_rows:
            pieces = [value[i : i + 1] for i in range(n_rows)]
        elif name == "pixel_values" and _tiles(len(value), n_tokens):
            pieces = value.split(_tiles(len(value), n_tokens))
        else:
            raise ConfigError(
                "prompts of this model family cannot be answered in parts: "
                f"{name} has {len(value)} entries for {sum(counts)} images of {n_rows} prompts",
                hint="leave out 'batch_size' of the grpo stage",
            )
        for part, piece in zip(parts, pieces, strict=True):
            part[name] = piece
    return parts


def _tiles(n: int, n_tokens: Sequence[int]) -> list[int]:
    """Return the tiles of every row, of `n` in all; empty if they do not come out whole."""
    total = sum(n_tokens)
    if not total or any(n * each % total for each in n_tokens):
        return []
    return [n * each // total for each in n_tokens]


def _array(value: Any) -> Any:
    """Return a field as a tensor, but what has one list per prompt as it is: the lists differ."""
    if isinstance(value, list) and value and isinstance(value[0], list):
        return value
    return value if isinstance(value, Tensor) else torch.as_tensor(np.array(value))


def _joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the fields of some rows, as the processor would have made them of these rows."""
    return {
        name: torch.cat([part[name] for part in parts])
        if isinstance(parts[0][name], Tensor)
        else [each for part in parts for each in part[name]]
        for name in parts[0]
    }
