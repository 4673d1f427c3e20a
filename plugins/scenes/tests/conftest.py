from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from geovlm_scenes import EuroSatMsOptions, SceneOptions, data

from geovlm.api import LoadContext, Sample


@pytest.fixture
def read() -> Callable[..., tuple[list[Sample], Counter[str]]]:
    """Load a split of a set with options; returns the samples and the reasons of what is absent."""

    def load(
        name: str, root: Path, split: Any = "train", *, limit: int | None = None, **own: Any
    ) -> tuple[list[Sample], Counter[str]]:
        skipped: Counter[str] = Counter()
        options = EuroSatMsOptions(**own) if name == "eurosat_ms" else SceneOptions(**own)
        context = LoadContext(
            root=root,
            split=split,
            limit=limit,
            options=options,
            skip=lambda reason, item: skipped.update([reason]),
        )
        return list(getattr(data, f"load_{name}")(context)), skipped

    return load


@pytest.fixture
def named(tmp_path: Path) -> Callable[..., Path]:
    """Write empty files `<class>/<file>`; loaders open none of them."""

    def write(names: list[str], *, below: str = "") -> Path:
        for name in names:
            path = tmp_path / below / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return write
