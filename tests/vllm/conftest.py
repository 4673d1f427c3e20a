"""Sets vLLM up for a CPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; TRL's share of the memory would be 7 GiB here
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # other processes have cores too
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process in place of three
    "VLLM_NO_USAGE_STATS": "1",
    "TORCH_COMPILE_DISABLE": "1",  # compiling takes longer than the tests
    "HF_HUB_OFFLINE": "1",
}


def pytest_configure(config: pytest.Config) -> None:
    """Set what vLLM reads when it is imported."""
    if "vllm" in str(config.getoption("markexpr")):
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)


@pytest.fixture(scope="session")
def one_engine() -> Iterator[list[Any]]:
    """Let all tests use one vLLM of their process, which gets their weights before it answers.

    Yields a list of it, which is empty until a test needs it.
    """
    from geovlm.engine.training import trl_vllm

    build, kept = trl_vllm._llm, []

    def once(**given: Any) -> Any:
        kept[:] = kept or [build(**given)]
        return kept[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trl_vllm, "_llm", once)
        yield kept


class Running(NamedTuple):
    """A server with the built-in model."""

    url: str
    alive: Callable[[], None]
    """Raises if it has ended."""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The server that a run on the CPU starts, one for all tests."""
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


@contextmanager
def serving(folder: Path) -> Iterator[Running]:
    """Run a server with the command line and the environment of a run."""
    from geovlm import nano
    from geovlm.config import load
    from geovlm.run.launch import free_port
    from geovlm.run.vllm import server as vllm_server

    port = free_port()
    config = load.load(
        None,
        overrides=[
            "device=cpu",
            "stages.2.generation=vllm-server",
            "stages.2.vllm.max_model_len=256",
            f"stages.2.vllm.port={port}",
        ],
    )
    settings = config.stages[2].vllm
    with vllm_server.serving(
        vllm_server.command(str(nano.path()), config, settings, gpus=0),
        variables=vllm_server.environment([], ()),
        port=port,
        log=folder / "vllm.txt",
        timeout_s=settings.start_timeout_s,
    ) as alive:
        yield Running(f"http://127.0.0.1:{port}", alive)
