"""Scenes with planted objects, and a model that answers from the truth in the real grammar."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
import shapely
from rasterio.transform import Affine

from geovlm import boxes
from geovlm.api import ModelProfile, PromptContext
from geovlm.boxes import Box, corners
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Row
from geovlm.plugins import profiles
from geovlm.predict.windows.detections import around

UTM = Affine(10.0, 0.0, 404400.0, 0.0, -10.0, 5342400.0)
"""Of a Sentinel-2 tile in EPSG:32633."""
QWEN = replace(profiles.QWEN2_5_VL, min_pixels=112 * 112, max_pixels=112 * 112)
"""Sees 112 px windows as they are: integers of its frame are pixels of the scene."""
TURNED = replace(QWEN, name="turned", box_angle=True)


@dataclass(frozen=True)
class Oracle:
    """Answers with the planted objects in a window, cut at its edges."""

    truth: Sequence[Box]
    profile: ModelProfile
    asked: list[str]

    def __call__(self, rows: Sequence[Row], cache: ImageCache) -> list[str]:
        self.asked.extend(row.sample_id for row in rows)
        return [self.answer(row) for row in rows]

    def answer(self, row: Row) -> str:
        x, y, width, height = json.loads(row.images[-1])["window"]
        view = shapely.box(x, y, x + width, y + height)
        sizes = PromptContext(
            profile=self.profile, image_sizes=row.image_sizes, input_sizes=row.input_sizes
        )
        seen = [_seen(box, view) for box in self.truth]
        moved = [
            Box(b.x0 - x, b.y0 - y, b.x1 - x, b.y1 - y, b.angle_deg) for b in seen if b is not None
        ]
        text = boxes.write(moved, sizes)
        return f"<think> I looked. </think><answer> {text} </answer>"


def _seen(box: Box, view: shapely.Polygon) -> Box | None:
    """Return a box that the window shows whole, else the rectangle around the visible part."""
    shape = shapely.Polygon(corners(box))
    part = shape.intersection(view)
    if part.area < 4:
        return None
    if part.area > shape.area - 1e-6:
        return box
    return around(list(part.exterior.coords), angle_deg=box.angle_deg)


def write_scene(
    path: Path,
    size: tuple[int, int],
    *,
    crs: str | None = "EPSG:32633",
    transform: Affine | None = UTM,
    bands: int = 3,
    dtype: str = "uint8",
    value: int = 90,
) -> Path:
    """A GeoTIFF of one grey."""
    options = {"crs": crs, "transform": transform} if transform is not None else {}
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=size[0],
        height=size[1],
        count=bands,
        dtype=dtype,
        **options,
    ) as file:
        file.write(np.full((bands, size[1], size[0]), value, dtype))
    return path
