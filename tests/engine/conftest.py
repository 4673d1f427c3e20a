"""A run that can be hurt, and the same run undisturbed, of each module that asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import fake_plugins
from tests.engine import faults
from tests.engine.faults import Faulty


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Faulty:
    folder = tmp_path_factory.mktemp("site")
    fake_plugins.install(folder, "faulty", faults.PLUGIN)
    return Faulty(folder, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def undisturbed(faulty: Faulty, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "whole"
    status, said = faulty.run(output, str(faulty.config))
    assert status == 0, said
    return output
