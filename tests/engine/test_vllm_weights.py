"""Weights of vLLM and of the trainer, and their log-probabilities, are compared."""

from __future__ import annotations

import pytest
import torch

from geovlm.engine.training.agreement import refuse_dropout, require_logprobs
from geovlm.errors import RunFailedError
from geovlm.run.vllm import weights
from geovlm.run.vllm.weights import Held

NAMES = {"q": "qkv", "k": "qkv", "v": "qkv", "norm": "ln"}


@pytest.fixture
def trained() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(64, 32, generator=generator) for name in ("q", "k", "v", "norm")}


def sent(trained: dict[str, torch.Tensor]) -> dict[str, tuple[float, float]]:
    return {name: weights.sums(each) for name, each in trained.items()}


def worker(trained: dict[str, torch.Tensor], **others: torch.Tensor) -> Held:
    own = {"qkv": torch.cat([trained[name] for name in "qkv"]), "ln": trained["norm"], **others}
    return Held(NAMES, {name: weights.sums(each) for name, each in own.items()})


def test_stacked_weights_are_those_that_were_sent(trained) -> None:
    assert weights.differing(sent(trained), [worker(trained)]) == []


def test_a_weight_that_is_one_small_step_behind_is_named(trained) -> None:
    behind = {**trained, "norm": trained["norm"] - 1e-7 * torch.sign(trained["norm"])}
    assert weights.differing(sent(trained), [worker(behind)]) == ["norm"]
    behind = {**trained, "k": trained["k"] + 1e-6}
    assert weights.differing(sent(trained), [worker(behind)]) == ["q", "k", "v"]


def test_weights_may_be_split_over_processes_or_copied(trained) -> None:
    halves = [{name: each[i::2] for name, each in trained.items()} for i in (0, 1)]
    copied = [
        Held(w.names, {**w.sums, "ln": weights.sums(trained["norm"])}) for w in map(worker, halves)
    ]
    assert weights.differing(sent(trained), copied) == []
    assert weights.differing(sent(trained), copied[:1]) == ["q", "k", "v"]


def test_a_weight_of_vllm_that_nobody_sent_is_named(trained) -> None:
    head = torch.ones(4, 4)
    assert weights.differing(sent(trained), [worker(trained, head=head)]) == ["head"]
    # under a name that was not found, its value tells
    named = sent({**trained, "lm_head": head})
    assert weights.differing(named, [worker(trained, head=head)]) == []
    assert weights.differing(named, [worker(trained, head=head + 1)]) == ["lm_head", "head"]


def test_the_first_row_that_differs_is_named() -> None:
    trainer, mask = torch.zeros(3, 4), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])
    vllm = trainer.clone()
    vllm[0, 0], vllm[1, 3], vllm[2, 3] = 1e-4, 9.0, float("nan")  # the last two do not count
    require_logprobs(trainer, vllm, mask, dtype=torch.float32)
    vllm[1, 0] = 0.5
    with pytest.raises(RunFailedError, match=r"row 1: .*, 0\.25 apart per token; over all 3 rows"):
        require_logprobs(trainer, vllm, mask, dtype=torch.float32)
    require_logprobs(trainer, vllm, mask, dtype=torch.bfloat16)


def test_dropout_is_refused_by_name_while_it_acts() -> None:
    model = torch.nn.Sequential(torch.nn.Dropout(0.0), torch.nn.Dropout(0.05))
    with pytest.raises(RunFailedError, match=r"1 drops 0\.05"):
        refuse_dropout(model)
    refuse_dropout(model.eval())
