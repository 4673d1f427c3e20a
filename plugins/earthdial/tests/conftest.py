from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from geovlm_earthdial import EarthDialOptions, data
from geovlm_earthdial.sample import _jpeg, _save
from PIL import Image

from geovlm.api import LoadContext


@pytest.fixture
def save(tmp_path: Path):
    """Write rows as a saved folder; every image is 200 x 100 px."""
    picture = _jpeg(Image.new("RGB", (200, 100), (90, 120, 60)))

    def write(name: str, *rows: dict[str, Any], images=("jpg",)) -> Path:
        given = [{**dict.fromkeys(images, picture), **row} for row in rows]
        _save(tmp_path / name, given, images)
        return tmp_path

    return write


@pytest.fixture
def load():
    """Load the rows of a kind; returns the samples, and what was left out."""

    def read(kind: str, root: Path, split: Any = "test", *, limit: int | None = None, **given: Any):
        skipped: Counter[str] = Counter()
        ctx = LoadContext(
            root=root,
            split=split,
            limit=limit,
            options=EarthDialOptions(**given),
            skip=lambda reason, item: skipped.update([f"{reason}: {item}"]),
        )
        return list(getattr(data, f"load_{kind}")(ctx)), skipped

    return read


GROUP = {"ttype": "ref", "size_group": "small"}


@pytest.fixture
def group():
    """Columns that tell a region row from a question."""
    return GROUP
