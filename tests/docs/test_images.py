"""The example of docs/images.md runs, and the page names every field of `Raster`."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from geovlm.api import Raster

PAGE = (Path(__file__).parents[2] / "docs" / "images.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).integers(1, 4000, (5, 60, 80)).astype("uint16")
    with rasterio.open(
        "scene.tif", "w", driver="GTiff", width=80, height=60, count=5, dtype="uint16"
    ) as out:
        out.write(values)
        out.descriptions = ("B02", "B03", "B04", "B08", "B11")
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
    exec(compile(block, "docs/images.md", "exec"), {})
    with Image.open("true_colour.png") as shown:
        assert shown.size == (80, 60)
        assert shown.getpixel((0, 0)) == tuple(
            min(255, round(int(v) / 3000 * 255)) for v in values[[2, 1, 0], 0, 0]
        )
    with Image.open("corner.png") as shown:
        assert shown.size == (510, 310)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Raster)])
def test_every_field_is_explained(field: str) -> None:
    assert re.search(rf"`{field}[`=]", PAGE)


def test_every_awkward_input_of_the_table_has_its_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|") and "`test_" in line]
    named = [name for row in rows for name in re.findall(r"`(test_\w+)`", row)]
    tests = "".join(
        path.read_text(encoding="utf-8") for path in Path(__file__).parents[1].rglob("*.py")
    )
    assert len(rows) == 9
    assert [name for name in named if f"def {name}(" not in tests] == []
