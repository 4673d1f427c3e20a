"""The comparison behind vLLM's check, with another copy of the model in vLLM's place."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import AutoModelForImageTextToText

from geovlm import nano
from geovlm.engine.models.processor import load_processor
from geovlm.engine.programs import vllm_sync
from geovlm.engine.programs.vllm_sync import Question
from geovlm.errors import RunFailedError


class Copy:
    """A second copy of the weights, as vLLM has one; `names`: which of them a sync takes."""

    def __init__(self, model: torch.nn.Module, asked: list[Question], *, names: str = "") -> None:
        self.model, self._own, self._names = model, copy.deepcopy(model), names
        self.unexpanded: list[list[int]] = []
        self._asked = asked

    def sync_weights(self) -> None:
        new = self.model.state_dict()
        taken = {name: value for name, value in new.items() if self._names in name}
        self._own.load_state_dict(taken, strict=False)

    def generate(self, prompts, images, num_generations):
        (question,) = [each for each in self._asked if each.ids == prompts[0]]
        assert self.unexpanded == [question.unexpanded]
        ids = torch.tensor(prompts)
        with torch.no_grad():
            output = self._own.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                mm_token_type_ids=(ids == self._own.config.image_token_id).long(),
                max_new_tokens=4,
                do_sample=False,
                return_dict_in_generate=True,
                output_logits=True,
                **question.inputs,
            )
        new = output.sequences[:, ids.shape[1] :]
        logits = torch.stack(output.logits, dim=1)
        logits[:, :, list(question.never)] = -torch.inf
        chances = logits.log_softmax(-1)
        logprobs = chances.gather(2, new[:, :, None])
        return prompts, new.tolist(), logprobs.tolist(), new[:, :, None].tolist()


@pytest.fixture
def model() -> torch.nn.Module:
    torch.set_num_threads(1)
    return AutoModelForImageTextToText.from_pretrained(nano.path()).eval()


@pytest.fixture(scope="module")
def asked() -> list[Question]:
    return vllm_sync.questions(load_processor(str(nano.path())))


def test_the_questions_have_no_one_and_two_images(asked: list[Question]) -> None:
    assert [len(each.images or []) for each in asked] == [0, 1, 2]
    assert [len(each.ids) - len(each.unexpanded) for each in asked] == [0, 35, 70]


def test_a_copy_that_gets_the_weights_passes(model: torch.nn.Module, asked: list[Question]) -> None:
    parts = vllm_sync.compare(model, Copy(model, asked), asked)
    assert [each.name for each in parts[:3]] == ["text", "one image", "two images"]
    assert len(parts) == 3 + len(vllm_sync.KINDS)
    for part in parts:
        assert part.problem == ""
        assert part.apart < 1e-5  # float32 with and without a cache
        assert part.from_old is None or part.from_old > 50 * vllm_sync.LIMITS[torch.float32]


def test_weights_that_do_not_arrive_are_named(
    model: torch.nn.Module, asked: list[Question]
) -> None:
    parts = vllm_sync.compare(model, Copy(model, asked, names="visual"), asked)
    wrong = {each.name for each in parts if each.problem}
    assert "changed norms" in wrong
    assert "log-probabilities are" in parts[3].problem


def test_what_the_sync_refuses_is_the_problem_of_its_part(
    model: torch.nn.Module, asked: list[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Copy) -> None:
        raise RunFailedError("model.norm.weight differs", hint="none")

    monkeypatch.setattr(Copy, "sync_weights", refuse)
    part = vllm_sync.compare(model, Copy(model, asked), asked[:1])[0]
    assert (part.name, part.problem) == ("text", "model.norm.weight differs")
