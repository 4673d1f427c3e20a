from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from geovlm.plugins import registry
from geovlm.testing.kit import RULES, Kit
from tests.conforming_plugin import GOOD, install_toy


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Kit]]:
    """Install a version of the plugin `toy` and return its kit."""
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._load.cache_clear()

    def build(code: str = GOOD, **packaging: Any) -> Kit:
        install_toy(tmp_path, code, **packaging)
        return Kit("toy", registry=registry.load())

    yield build
    registry._load.cache_clear()


@pytest.fixture
def broken(toy: Callable[..., Kit]) -> Callable[..., dict[str, list[str]]]:
    """Return the rules that a version of `toy` breaks, each with its sentences.

    Without `light_import`, which takes a process of its own and has its own tests.
    """

    def find(code: str = GOOD, **packaging: Any) -> dict[str, list[str]]:
        kit = toy(code, **packaging)
        quick = [rule for rule in RULES if rule.name != "light_import"]
        outcomes = [kit.outcome(rule) for rule in quick]
        return {o.rule: [f.sentence for f in o.faults] for o in outcomes if o.result == "FAIL"}

    return find
