"""The examples in docstrings are run."""

from __future__ import annotations

import doctest
from importlib import import_module
from inspect import isfunction

import pytest

from tools.public_names import NAMES

MODULES = (
    "geovlm.answers",
    "geovlm.boxes.frames",
    "geovlm.boxes.reading",
    "geovlm.boxes.writing",
    "geovlm.boxes.rectangle",
    "geovlm.rewards.boxes",
    "geovlm.rewards.paper",
    "geovlm.rewards.robust",
)


EXAMPLES = [
    (module, name)
    for module in ("geovlm.answers", "geovlm.boxes")
    for name in NAMES[module]
    if isfunction(getattr(import_module(module), name))
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_hold(name: str) -> None:
    done = doctest.testmod(import_module(name))
    assert done.attempted
    assert not done.failed


@pytest.mark.parametrize(("module", "name"), EXAMPLES)
def test_a_public_function_shows_an_example(module: str, name: str) -> None:
    function = getattr(import_module(module), name)
    (test,) = doctest.DocTestFinder(recurse=False).find(function, name)
    assert test.examples
