"""Leaves out the tests that need vLLM, unless `-m vllm` asks for them; sets vLLM up for a CPU."""

from __future__ import annotations

import os

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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out these tests, unless `-m` names them: they need an environment of their own."""
    if "vllm" in str(config.getoption("markexpr")):
        return
    left = [item for item in items if item.get_closest_marker("vllm") is None]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(left)])
    items[:] = left
