"""Answers by vLLM: prompts, folders and the comparison with transformers; without vLLM itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from geovlm import nano
from geovlm.config.schema import RunConfig
from geovlm.engine.generation import generate
from geovlm.engine.models.load import load_reader
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Row
from geovlm.engine.writers import linked, prompts, reference
from geovlm.engine.writers.reference import Answer, Reference
from geovlm.engine.writers.vllm import require_length
from geovlm.errors import RunFailedError
from geovlm.plugins import registry
from tests.vllm.rows import mixed

CONFIG = RunConfig(device="cpu", min_pixels=3136, max_pixels=12544)
"""Other limits than those of nano's files."""


@pytest.fixture(scope="module")
def processor() -> Any:
    return load_reader(str(nano.path()), CONFIG, registry=registry.load())[0]


def asked(row: Row, *, logprobs: list[float], ids: list[int] | None = None) -> Reference:
    """Return an answer of two tokens; at each place, token 1 has these chances and 0 the rest."""
    chances = torch.tensor([[-1.0, each, -9.0] for each in logprobs])
    return Reference(row, Answer([5, 6], ids or [1, 1], logprobs), chances)


@pytest.fixture
def row() -> Row:
    return Row(task="a", sample_id="7", images=(), question="", image_sizes=(), input_sizes=())


def test_the_mean_difference_of_two_tokens_is_returned(row):
    ours = asked(row, logprobs=[-0.5, -0.25])
    theirs = Answer([5, 6], [1, 1], [-0.5, -0.26])
    found = reference.compare([ours], [theirs], tolerance=0.01, who="vLLM")
    assert found == pytest.approx(0.005)


def test_a_token_as_likely_as_ours_may_be_taken_and_ends_the_comparison(row):
    ours = asked(row, logprobs=[-1.0001, -0.5])
    theirs = Answer([5, 6], [0, 2], [-1.0, -123.0])
    assert reference.compare([ours], [theirs], tolerance=1e-3, who="vLLM") == 0.0


def test_another_model_is_named_with_the_sample(row):
    ours = asked(row, logprobs=[-0.5, -0.25])
    with pytest.raises(RunFailedError, match=r"sample '7' of task 'a' are 0.25 apart per token"):
        reference.compare(
            [ours], [Answer([5, 6], [1, 1], [-0.5, -0.75])], tolerance=0.05, who="the server"
        )


def test_a_token_that_transformers_would_not_take_is_another_model(row):
    ours = asked(row, logprobs=[-0.5, -0.25])
    with pytest.raises(RunFailedError, match="another model, or other images"):
        reference.compare([ours], [Answer([5, 6], [2], [-0.5])], tolerance=0.05, who="vLLM")


def test_an_empty_answer_is_no_agreement(row):
    ours = asked(row, logprobs=[-0.5, -0.25])
    with pytest.raises(RunFailedError, match="inf apart"):
        reference.compare([ours], [Answer([5, 6], [], [])], tolerance=0.05, who="vLLM")


def test_another_prompt_is_named_with_the_first_token_that_differs(row):
    ours = asked(row, logprobs=[-0.5, -0.25])
    with pytest.raises(RunFailedError, match="3 tokens in place of 2, and differs from token 1 on"):
        reference.compare(
            [ours], [Answer([5, 5, 6], [1, 1], [-0.5, -0.25])], tolerance=1.0, who="vLLM"
        )


def test_of_each_task_the_row_with_most_images_is_compared(tmp_path):
    rows = mixed(tmp_path, number=4)
    assert [each.sample_id for each in reference.choose(rows[1:])] == ["2"]


def test_prompts_have_one_placeholder_where_the_processor_has_many(processor, tmp_path):
    rows, cache = mixed(tmp_path, number=2), ImageCache()
    image = processor.tokenizer.convert_tokens_to_ids(processor.image_token)
    whole = generate.encode(processor, rows[:1], cache=cache)["input_ids"][0].tolist()
    ids = prompts.ids_of(processor, rows)[0]
    assert ids.count(image) == 2
    assert [each for each in whole if each != image] == [each for each in ids if each != image]
    profile = load_reader(str(nano.path()), CONFIG, registry=registry.load())[1]
    assert prompts.longest(processor, rows, profile=profile) >= len(whole)
    made = prompts.of(processor, rows[:1], cache=cache)[0]
    require_length(rows[0], made, len(whole), profile=profile)
    with pytest.raises(RunFailedError, match=rf"reads {len(whole) + 8} tokens in place of"):
        require_length(rows[0], made, len(whole) + 8, profile=profile)


def test_a_seed_depends_on_run_and_row_alone(tmp_path):
    one, other = mixed(tmp_path, number=2)
    assert prompts.seed_of(0, one) == prompts.seed_of(0, one)
    assert len({prompts.seed_of(0, one), prompts.seed_of(1, one), prompts.seed_of(0, other)}) == 3


def test_linked_weights_have_the_limits_of_the_run_or_leave_sizes_as_they_are(processor, tmp_path):
    path = str(nano.path())
    run = linked.link(path, CONFIG, processor=processor, folder=tmp_path / "run")
    loose = linked.link(path, CONFIG, processor=processor, folder=tmp_path / "loose", as_sized=True)
    assert (run / "model.safetensors").resolve() == (nano.path() / "model.safetensors").resolve()
    own = json.loads((run / "preprocessor_config.json").read_text())
    assert (own["min_pixels"], own["max_pixels"]) == (3136, 12544)
    given = json.loads((loose / "preprocessor_config.json").read_text())
    assert given["min_pixels"] == 1
    assert given["max_pixels"] > 12544
    assert processor.image_processor.size["longest_edge"] == 12544
