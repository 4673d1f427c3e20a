"""What all tests share: a cache of their own, and an engine that need not be started."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from geovlm.plan.trials import process as trials
from tests import inside

PARTS = ("browser", "families", "faults", "track", "vllm")
"""Marks of tests that run only where `-m` names the mark: each has a `make test-…` of its own."""

LONGEST = ["test_faults.py", "test_faults_ranks.py", "test_machines.py", "test_ranks.py"]


def pytest_configure() -> None:
    """Collect no garbage while tests are collected: what they import stays."""
    gc.disable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the parts that `-m` does not name, and begin with the files that take longest.

    One worker would end with a long file alone.
    """
    asked = str(config.getoption("markexpr"))
    others = {name for name in PARTS if name not in asked}
    left_out = [item for item in items if any(mark.name in others for mark in item.iter_markers())]
    config.hook.pytest_deselected(items=left_out)
    order = {name: at for at, name in enumerate(LONGEST)}
    items[:] = sorted(
        (item for item in items if item not in set(left_out)),
        key=lambda item: order.get(item.path.name, len(order)),
    )


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture
def engine_here() -> Iterator[None]:
    """Let commands do the engine's work in this process, which has imported torch already."""
    with inside.engine():
        yield


@pytest.fixture(autouse=True, scope="session")
def untried() -> Iterator[Callable[..., None]]:
    """Leave out the trials of prompts and trainers, two seconds per plan; yields their check."""
    check = trials.check
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "check", lambda *_, **__: None)
        yield check


@pytest.fixture
def tried_trainers(
    untried: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Try prompts and trainers, with a cache that remembers no trial."""
    monkeypatch.setattr(trials, "check", untried)
    monkeypatch.setattr(trials, "markers", lambda: tmp_path / "trials")


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Point `GEOVLM_CACHE` at a temporary folder, one for all workers of a session."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOVLM_CACHE", str(folder))
        yield folder
