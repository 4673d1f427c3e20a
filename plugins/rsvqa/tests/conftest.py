from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from geovlm_rsvqa import HighResOptions, LowResOptions, data
from geovlm_rsvqa.sample import make_hr, make_lr

from geovlm.api import LoadContext, Sample


@pytest.fixture(scope="session")
def low(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rsvqa_lr")
    make_lr(root, 12, 7)
    return root


@pytest.fixture(scope="session")
def high(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rsvqa_hr")
    make_hr(root, 12, 7)
    return root


@pytest.fixture
def read() -> Callable[..., tuple[list[Sample], Counter[str]]]:
    """Load a split with options; returns the samples and the reasons of what was left out."""

    def load(
        root: Path, split: Any = "train", *, part: str = "lr", limit: int | None = None, **own: Any
    ) -> tuple[list[Sample], Counter[str]]:
        skipped: Counter[str] = Counter()
        context = LoadContext(
            root=root,
            split=split,
            limit=limit,
            options=LowResOptions(**own) if part == "lr" else HighResOptions(**own),
            skip=lambda reason, item: skipped.update([reason]),
        )
        loader = data.load_lr if part == "lr" else data.load_hr
        return list(loader(context)), skipped

    return load
