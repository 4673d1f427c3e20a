"""Refusals of answers by vLLM."""

from __future__ import annotations

import importlib.util

import pytest

from geovlm.config import load
from geovlm.config.schema import RunConfig
from geovlm.errors import ConfigError
from geovlm.run.vllm import answering

HERE = importlib.util.find_spec("vllm") is not None


def config(*overrides: str) -> RunConfig:
    return load.load(None, tasks=["rsvqa/lr"], overrides=["device=cpu", *overrides], stages=[])


@pytest.mark.skipif(HERE, reason="vLLM is installed")
def test_a_missing_vllm_is_named_with_its_install_line():
    chosen = config("answering.generation=vllm")
    with pytest.raises(ConfigError, match=r"is not installed.*pip install 'geovlm\[vllm\]'"):
        answering.check(chosen)
    answering.check(chosen, elsewhere=True)


def test_a_server_needs_no_vllm_here():
    answering.check(config("answering.generation=vllm", "answering.url=http://127.0.0.1:1"))


def test_vllm_in_the_process_answers_in_one_process():
    chosen = config("answering.generation=vllm", "processes=2")
    with pytest.raises(ConfigError, match="answers in one process, not in 2"):
        answering.check(chosen, elsewhere=True)


def test_an_endpoint_writes_its_own_answers():
    chosen = config(
        "model=openai:a", "served.base_url=http://127.0.0.1:1/v1", "answering.generation=vllm"
    )
    with pytest.raises(ConfigError, match="'openai:a': its endpoint writes the answers"):
        answering.check(chosen)


def test_an_address_needs_generation_vllm():
    with pytest.raises(ConfigError, match="url is of generation 'vllm'"):
        config("answering.url=http://127.0.0.1:1")


def test_the_address_of_a_server_ends_before_its_version():
    chosen = config("answering.generation=vllm", "answering.url=http://127.0.0.1:1/v1/")
    assert chosen.answering.url == "http://127.0.0.1:1"


def test_an_address_with_a_key_is_refused_without_repeating_it():
    with pytest.raises(ConfigError) as caught:
        config("answering.generation=vllm", "answering.url=http://a:secret@127.0.0.1:1")
    assert "secret" not in str(caught.value)
