"""Provides fixtures for tests of tasks: contexts without an engine, the folder of real data.

Loaded by pytest through the entry point `pytest11` of the distribution, hence in every test run of
every project that has geovlm installed: nothing heavy is imported before a fixture is used.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from geovlm.api import Prediction, PromptContext, RewardContext, Size


@pytest.fixture(scope="session")
def realdata(request: pytest.FixtureRequest) -> Path:
    """Folder of real data sets in their official layouts; the test is skipped, loudly, without it.

    `GEOVLM_REALDATA`, else `../shared/realdata` next to the repository.
    """
    named = os.environ.get("GEOVLM_REALDATA")
    folder = Path(named) if named else request.config.rootpath.parent / "shared" / "realdata"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set GEOVLM_REALDATA to the folder that holds it")
    return folder


@pytest.fixture
def reward_ctx() -> Callable[..., RewardContext]:
    """Build a `RewardContext`; every field has a default, `target` is what tests usually set."""

    def build(
        *,
        target: Mapping[str, Any] | None = None,
        image_sizes: tuple[Size, ...] = ((280, 280),),
        **fields: Any,
    ) -> RewardContext:
        from geovlm.api import RewardContext

        return RewardContext(**(_asked(target, image_sizes) | fields))

    return build


@pytest.fixture
def prompt_ctx() -> Callable[..., PromptContext]:
    """Build a `PromptContext` of Qwen2.5-VL with images seen at their stored size."""

    def build(*, image_sizes: tuple[Size, ...] = ((280, 280),), **fields: Any) -> PromptContext:
        from geovlm.api import PromptContext

        return PromptContext(**(_seen(image_sizes) | fields))

    return build


@pytest.fixture
def prediction() -> Callable[..., Prediction]:
    """Build a `Prediction` from a completion and a target."""

    def build(
        completion: str,
        *,
        target: Mapping[str, Any] | None = None,
        image_sizes: tuple[Size, ...] = ((280, 280),),
        **fields: Any,
    ) -> Prediction:
        from geovlm.api import Prediction

        values = {**_asked(target, image_sizes), "completion": completion}
        return Prediction(**(values | fields))

    return build


def _asked(target: Mapping[str, Any] | None, image_sizes: tuple[Size, ...]) -> dict[str, Any]:
    texts = {"task": "test", "sample_id": "sample", "question": "", "answer": ""}
    return {**texts, "target": target or {}, **_seen(image_sizes)}


def _seen(image_sizes: tuple[Size, ...]) -> dict[str, Any]:
    """Return images of Qwen2.5-VL that are seen at their stored size."""
    from geovlm.plugins.profiles import QWEN2_5_VL

    return {"profile": QWEN2_5_VL, "image_sizes": image_sizes, "input_sizes": image_sizes}
