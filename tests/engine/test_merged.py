"""Adapters that are merged while completions are written leave the weights as they were."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForImageTextToText

from geovlm import nano
from geovlm.engine.speedups import merged

IDS = torch.arange(20, 40)[None]


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    base = AutoModelForImageTextToText.from_pretrained(nano.path())
    made = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.5))
    for name, weight in made.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(weight, std=0.05)
    return made


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits
    return found


def weights(model: Any) -> dict[str, tuple[int, torch.Tensor]]:
    return {k: (v.data_ptr(), v.detach().clone()) for k, v in model.named_parameters()}


def test_merged_adapters_give_the_same_logits_and_leave_the_weights_to_the_bit(model):
    model.eval()
    before, expected = weights(model), logits(model)
    with merged.merged(model):
        found = logits(model)
        layer = next(each for each in model.modules() if hasattr(each, "merged_adapters"))
        assert layer.merged
    after = weights(model)
    # float32: sums in another order
    assert torch.allclose(found, expected, atol=1e-4)
    assert not torch.equal(found, expected)
    assert [place for place, _ in after.values()] == [place for place, _ in before.values()]
    assert all(torch.equal(after[name][1], before[name][1]) for name in before)
    assert torch.equal(logits(model), expected)


def test_an_error_puts_the_weights_back(model):
    model.eval()
    before, expected = weights(model), logits(model)
    with pytest.raises(KeyError), merged.merged(model):
        raise KeyError
    assert all(torch.equal(weights(model)[name][1], before[name][1]) for name in before)
    assert torch.equal(logits(model), expected)


def test_dropout_of_adapters_has_no_effect_in_the_block(model):
    model.train()
    with merged.merged(model):
        assert torch.equal(logits(model), logits(model))
    assert not torch.equal(logits(model), logits(model))


def test_adapters_train_on_after_the_block(model):
    model.train()
    with merged.merged(model):
        logits(model)
    model(input_ids=IDS, attention_mask=torch.ones_like(IDS), labels=IDS).loss.backward()
    grads = [w.grad for n, w in model.named_parameters() if ".lora_A." in n and "visual" not in n]
    assert all(each is not None and each.abs().sum() > 0 for each in grads)
    model.zero_grad()


def test_bfloat16_is_refused_because_the_sum_would_be_rounded(model):
    assert merged.refusal(model) == ""
    assert merged.refusal(torch.nn.Linear(2, 2)) == ""
    model.to(torch.bfloat16)
    assert merged.refusal(model) == "weights are bfloat16"
    model.to(torch.float32)
