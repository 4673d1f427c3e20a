"""The examples in docstrings are run."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest

MODULES = (
    "geovlm.answers",
    "geovlm.boxes.frames",
    "geovlm.boxes.reading",
    "geovlm.boxes.rectangle",
    "geovlm.rewards.boxes",
    "geovlm.rewards.paper",
    "geovlm.rewards.robust",
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_hold(name: str) -> None:
    done = doctest.testmod(import_module(name))
    assert done.attempted
    assert not done.failed
