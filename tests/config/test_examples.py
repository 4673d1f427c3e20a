"""Every example is a configuration that loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from geovlm.config.load import load

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.toml"))


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_valid_configuration(path: Path) -> None:
    assert load(path).stages
