"""What all tests share: a cache of their own, so that no test writes into the user's."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Point `GEOVLM_CACHE` at a temporary folder for the whole session."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEOVLM_CACHE", str(folder))
        yield folder
