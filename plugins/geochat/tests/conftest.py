from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from geovlm_geochat import GeoChatOptions, data
from geovlm_geochat.sample import make_sample

from geovlm.api import LoadContext, Sample


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("geochat")
    make_sample(root, 40, 7)
    return root


@pytest.fixture
def read() -> Callable[..., tuple[list[Sample], Counter[str]]]:
    """Load a split with options; returns the samples and the reasons of what was left out."""

    def load(
        root: Path, split: Any = "train", *, limit: int | None = None, **options: Any
    ) -> tuple[list[Sample], Counter[str]]:
        skipped: Counter[str] = Counter()
        context = LoadContext(
            root=root,
            split=split,
            limit=limit,
            options=GeoChatOptions(**options),
            skip=lambda reason, item: skipped.update([reason]),
        )
        return list(data.load(context)), skipped

    return load
