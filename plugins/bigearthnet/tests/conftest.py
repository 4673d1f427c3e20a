from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from geovlm_bigearthnet import BigEarthNetOptions, data
from geovlm_bigearthnet.sample import make_sample

from geovlm.api import LoadContext, Sample


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bigearthnet")
    make_sample(root, 4, 7)
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
            options=BigEarthNetOptions(**options),
            skip=lambda reason, item: skipped.update([reason]),
        )
        return list(data.load(context)), skipped

    return load


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """A hand-made v2: five rows, no images."""
    patch = "S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP"
    rows = {
        "patch_id": [f"{patch}_26_57", f"{patch}_26_58", f"{patch}_1_1", f"{patch}_1_2", "../up"],
        "labels": [
            ["Arable land", "Transitional woodland, shrub"],
            ["Pastures"],
            ["Marine waters"],
            ["Mixed forest"],
            ["Pastures"],
        ],
        "split": ["train", "validation", "test", "train", "train"],
        "contains_seasonal_snow": [False, False, False, True, False],
        "contains_cloud_or_shadow": [False] * 5,
    }
    pq.write_table(pa.table(rows), tmp_path / "metadata.parquet")
    (tmp_path / "BigEarthNet-S2").mkdir()
    return tmp_path
