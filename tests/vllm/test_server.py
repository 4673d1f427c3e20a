"""A server that hangs or is gone ends a run with one line, within the time that is set."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from geovlm.errors import RunFailedError

pytestmark = pytest.mark.vllm


def test_a_server_is_fit_for_training_as_a_run_starts_it(server: Any) -> None:
    from geovlm.run.vllm.fitness import refuse_unfit

    refuse_unfit(server.url)
    server.alive()


def test_a_server_that_hangs_and_one_that_is_gone_are_one_line_each(
    server: Any, tmp_path: Path
) -> None:
    from tests.vllm import stages
    from tests.vllm.rows import mixed

    (parent,) = [
        each for each in psutil.Process().children() if server.url[-5:] in " ".join(each.cmdline())
    ]
    chosen = (f"stages.2.vllm.url={server.url}", "stages.2.vllm.timeout_s=60")
    trainer = stages.trainer(tmp_path, mixed(tmp_path, number=2), *chosen, generation="vllm-server")
    client = trainer.vllm_generation
    client.vllm_client._timeout_s = 3.0
    for adapter in client.vllm_client.session.adapters.values():
        adapter._timeout_s = 3.0
    family = [parent, *parent.children(recursive=True)]
    for each in family:
        each.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(RunFailedError, match=r"vLLM server at .* does not answer within") as error:
        client.sync_weights()
    assert "\n" not in str(error.value)
    for each in family:
        each.send_signal(signal.SIGKILL)
    with pytest.raises(RunFailedError, match=r"vLLM server at .* does not answer any more"):
        client.sync_weights()
    assert time.monotonic() - began < 30
    deadline = time.monotonic() + 30
    with pytest.raises(RunFailedError, match="the vLLM server ended with exit status"):
        while time.monotonic() < deadline:
            server.alive()
            time.sleep(0.1)
