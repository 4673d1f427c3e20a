"""Prompts that are read once are answered as if each row had read its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel

from geovlm.engine.speedups import shared_prefill
from tests.engine.test_distinct_images import a_batch, a_nano, a_qwen3

WHICH = [[0], [0, 1], [1], [0], [0, 1], [2], [1, 0], [0]]
"""Images of the rows: rows 0, 3, 7 and rows 1, 4 are the same; the short ones are padded."""
GROUPS = [[0, 3, 7], [1, 4], [2], [5], [6]]
N_IMAGES = [1, 2, 1, 1, 2, 1, 2, 1]


def rows_read(model: Any) -> list[int]:
    """Return a list that gets the rows and tokens of every pass through the decoder."""
    seen: list[Any] = []
    model.base_model.language_model.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(tuple(kwargs["inputs_embeds"].shape[:2])),
        with_kwargs=True,
    )
    return seen


def answered(model: Any, batch: dict[str, Tensor], **kwargs: Any) -> tuple[Tensor, list[Tensor]]:
    """Return the sequences and the logits of every step."""
    torch.manual_seed(0)
    output = model.generate(
        **batch,
        max_new_tokens=6,
        min_new_tokens=6,
        output_logits=True,
        return_dict_in_generate=True,
        **{"do_sample": False} | kwargs,
    )
    return output.sequences, output.logits


@pytest.mark.parametrize("build", [a_nano, a_qwen3])
@pytest.mark.parametrize("do_sample", [False, True])
def test_completions_are_those_of_the_ordinary_way(
    build: Callable[[], PreTrainedModel], do_sample: bool
) -> None:
    vlm = build().eval()
    batch = a_batch(vlm, WHICH)
    options = {"do_sample": do_sample, "pad_token_id": 0}
    seen = rows_read(vlm)
    sequences, logits = answered(vlm, batch, **options)
    with shared_prefill.shared(vlm, GROUPS, N_IMAGES):
        shared_sequences, shared_logits = answered(vlm, batch, **options)
    n_tokens = batch["input_ids"].shape[1]
    assert seen == [(8, n_tokens), *[(8, 1)] * 5, (5, n_tokens), *[(8, 1)] * 5]
    assert torch.equal(shared_sequences, sequences)
    for one, other in zip(shared_logits, logits, strict=True):
        # kernels of other batch sizes round differently
        assert torch.allclose(one, other, rtol=0, atol=1e-5)
    assert (logits[0][0] - logits[0][2]).abs().max() > 1e-3  # the images are not ignored


def test_adapters_take_part() -> None:
    adapted = peft.get_peft_model(
        a_nano(), peft.LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    ).eval()
    vlm = adapted.get_base_model()
    batch = a_batch(vlm, WHICH)
    seen = rows_read(vlm)
    sequences, logits = answered(adapted, batch)
    with shared_prefill.shared(vlm, GROUPS, N_IMAGES):
        shared_sequences, shared_logits = answered(adapted, batch)
    assert [seen[0][0], seen[6][0]] == [8, 5]
    assert torch.equal(shared_sequences, sequences)
    assert torch.allclose(shared_logits[0], logits[0], rtol=0, atol=1e-5)
    with adapted.disable_adapter():
        assert not torch.allclose(answered(adapted, batch)[1][0], logits[0], atol=1e-3)


def test_pixels_that_come_with_the_first_pass_are_chosen_too() -> None:
    vlm = a_nano().eval()
    batch = a_batch(vlm, WHICH)
    cache = transformers.DynamicCache(config=vlm.config)
    with torch.no_grad(), shared_prefill.shared(vlm, GROUPS, N_IMAGES):
        output = vlm(**batch, past_key_values=cache, use_cache=True)
    with torch.no_grad():
        plain = vlm(**batch)
    kept = batch["attention_mask"] == 1
    assert torch.allclose(output.logits[kept], plain.logits[kept], rtol=0, atol=1e-5)
    assert [len(layer.keys) for layer in cache.layers] == [8] * 5


def test_other_caches_take_the_ordinary_way() -> None:
    vlm = a_nano().eval()
    batch = a_batch(vlm, WHICH)
    seen = rows_read(vlm)
    with shared_prefill.shared(vlm, GROUPS, N_IMAGES):
        sequences, _ = answered(vlm, batch, cache_implementation="static")
    assert seen[0][0] == 8
    assert torch.equal(sequences, answered(vlm, batch)[0])


def test_only_the_next_generation_is_changed() -> None:
    vlm = a_nano().eval()
    batch = a_batch(vlm, WHICH)
    seen = rows_read(vlm)
    with shared_prefill.shared(vlm, GROUPS, N_IMAGES):
        answered(vlm, batch)
        answered(vlm, batch)
    answered(vlm, batch)
    assert [rows for rows, tokens in seen if tokens > 1] == [5, 8, 8]
