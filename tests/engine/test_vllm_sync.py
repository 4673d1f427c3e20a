"""The comparison behind vLLM's check, with another copy of the model in vLLM's place."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import AutoModelForImageTextToText

from geovlm import nano
from geovlm.engine.programs import vllm_sync
from geovlm.errors import RunFailedError

PROMPT = list(range(20, 40))


class Copy:
    """A second copy of the weights, as vLLM has one; `names`: which of them a sync takes."""

    def __init__(self, model: torch.nn.Module, *, names: str) -> None:
        self._trained, self._own, self._names = model, copy.deepcopy(model), names

    def sync_weights(self) -> None:
        new = self._trained.state_dict()
        taken = {name: value for name, value in new.items() if self._names in name}
        self._own.load_state_dict(taken, strict=False)

    def generate(self, prompts, images, num_generations):
        ids = torch.tensor(prompts)
        with torch.no_grad():
            output = self._own.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=8,
                do_sample=False,
                return_dict_in_generate=True,
                output_logits=True,
            )
        new = output.sequences[:, ids.shape[1] :]
        chances = torch.stack(output.logits, dim=1).log_softmax(-1)
        logprobs = chances.gather(2, new[:, :, None])
        return prompts, new.tolist(), logprobs.tolist(), new[:, :, None].tolist()


@pytest.fixture
def model() -> torch.nn.Module:
    torch.set_num_threads(1)
    return AutoModelForImageTextToText.from_pretrained(nano.path()).eval()


def test_a_copy_that_gets_the_weights_passes(model: torch.nn.Module) -> None:
    synced = vllm_sync.compare(model, Copy(model, names=""), PROMPT)
    # float32 with and without a cache
    assert synced.with_new < 1e-3
    assert synced.with_old > 1.0


def test_a_copy_that_keeps_its_weights_fails(model: torch.nn.Module) -> None:
    with pytest.raises(RunFailedError, match="does not answer with the synced weights"):
        vllm_sync.compare(model, Copy(model, names="no such weight"), PROMPT)


def test_a_copy_that_gets_some_of_the_weights_fails(model: torch.nn.Module) -> None:
    with pytest.raises(RunFailedError, match="does not answer with the synced weights"):
        vllm_sync.compare(model, Copy(model, names="self_attn"), PROMPT)
