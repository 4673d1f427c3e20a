"""What TRL still does with vLLM, for which `geovlm.engine.training.trl_vllm` stands in.

Where a test fails, TRL has changed: see if that part of the module can go.
"""

from __future__ import annotations

import inspect

import pytest
from trl.generation.vllm_client import VLLMClient
from trl.generation.vllm_generation import VLLMGeneration

from geovlm.engine.training import trl_vllm


def test_a_server_that_is_not_well_is_not_waited_for_without_end(monkeypatch) -> None:
    class Sick:
        @staticmethod
        def raise_for_status() -> None:
            raise trl_vllm.requests.HTTPError("503")

    monkeypatch.setattr(trl_vllm.requests, "get", lambda *_, **__: Sick)
    client = object.__new__(trl_vllm._Client)
    client._timeout_s, client.base_url = 0.01, "http://127.0.0.1:9"
    with pytest.raises(trl_vllm.requests.HTTPError, match="503"):
        client.check_server(total_timeout=60.0, retry_interval=0.01)


def test_trl_still_keeps_features_of_images_over_a_sync() -> None:
    """huggingface/trl#7198: `Generation.forget_images`."""
    assert "reset_prefix_cache" in inspect.getsource(VLLMGeneration.sync_weights)
    assert "encoder_cache" not in inspect.getsource(VLLMGeneration)


def test_trl_still_takes_the_weights_of_vllm_from_the_model() -> None:
    """`Options.weights` and `Options.dtype`."""
    source = inspect.getsource(VLLMGeneration._init_vllm)
    assert "model=model.name_or_path" in source
    assert "dtype=" not in source


def test_trl_still_waits_for_a_server_without_a_limit() -> None:
    """`_Patient`."""
    assert "timeout" not in inspect.getsource(VLLMClient._post)


def test_trl_still_sends_weights_to_cuda_alone() -> None:
    """`_FileClient`."""
    assert 'device.type != "cuda"' in inspect.getsource(VLLMClient.init_communicator)
