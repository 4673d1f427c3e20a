"""Tiny checkpoints of public families: real tokenizers, templates and limits, random weights.

Tests of other folders may call `tools.families.checkpoints.checkpoint` themselves. Those of
`make test` take checkpoints that are not in `FETCHED`: they need no network.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tools.families import checkpoints


@pytest.fixture(scope="session")
def checkpoint() -> Callable[[str], Path]:
    """Return the folder of a checkpoint by its name, built once per machine; never change it."""
    return checkpoints.checkpoint
