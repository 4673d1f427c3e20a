"""Leaves out the tests that need trackers, unless `-m track` asks for them."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out these tests, unless `-m` names them: they need an environment of their own."""
    if "track" in str(config.getoption("markexpr")):
        return
    left = [item for item in items if item.get_closest_marker("track") is None]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(left)])
    items[:] = left
