"""Generates patches in the layout of BigEarthNet v1: twelve bands, labels, split files."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.transform import from_origin

from geovlm import scenes

SIDE_PX = 120
_PATCH_M = 1200
_SPLITS = ("train", "val", "test")
_COLUMNS = 90
_ZONE = 33
_FACTORS = {10: 1, 20: 2, 60: 6}
"""Metres per pixel -> pixels of 10 m along its side."""
_METRES = {"B01": 60, "B02": 10, "B03": 10, "B04": 10, "B05": 20, "B06": 20, "B07": 20}
_METRES |= {"B08": 10, "B8A": 20, "B09": 60, "B11": 20, "B12": 20}
_LABELS = {
    "forest": "Broad-leaved forest",
    "cropland": "Non-irrigated arable land",
    "pasture": "Pastures",
    "water": "Water bodies",
    "urban": "Discontinuous urban fabric",
    "bare soil": "Beaches, dunes, sands",
}
"""Land cover of a scene -> class of v1."""
_VISIBLE = {"B04": 0, "B03": 1, "B02": 2}
_REFLECTANCE = {
    "forest": (300, 700, 1900, 2300, 2600, 2700, 900, 1300, 600),
    "cropland": (900, 1500, 2000, 2200, 2500, 2600, 1000, 2600, 1900),
    "pasture": (500, 1200, 3000, 3500, 3900, 4000, 1400, 2000, 1000),
    "water": (600, 350, 250, 220, 180, 160, 120, 80, 50),
    "urban": (1300, 1500, 1600, 1700, 1800, 1900, 900, 2000, 1800),
    "bare soil": (1200, 2000, 2200, 2300, 2500, 2600, 1100, 3200, 2900),
}
_OTHERS = ("B01", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
"""Invisible bands, in the order of `_REFLECTANCE` (reflectance x 10,000, typical)."""


def make_sample(root: Path, n: int, seed: int) -> None:
    """Write n patches per split; classes and reflectances follow the land cover of a scene."""
    rng = np.random.default_rng(seed)
    crs = CRS.from_epsg(32600 + _ZONE)
    projection = crs.to_wkt()
    number = 0
    for split in _SPLITS:
        names = []
        for _ in range(n):
            scene = scenes.compose(rng, size_px=(SIDE_PX, SIDE_PX), count=(0, 0), road=0.0)
            names.append(_write(root, scene, number=number, crs=crs, projection=projection))
            number += 1
        (root / f"{split}.csv").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def _write(root: Path, scene: scenes.Scene, *, number: int, crs: CRS, projection: str) -> str:
    """Write the bands and the label file of a patch; returns its name."""
    day, cell = divmod(number, _COLUMNS**2)
    row, column = divmod(cell, _COLUMNS)
    taken = datetime(2017, 6, 13, 10, 10, 31) + timedelta(days=day)
    name = f"S2A_MSIL2A_{taken:%Y%m%dT%H%M%S}_{column}_{row}"
    folder = root / "BigEarthNet-v1.0" / name
    folder.mkdir(parents=True)
    west, north = 399960 + column * _PATCH_M, 5400000 - row * _PATCH_M
    for band, values in _bands(scene).items():
        metres = _METRES[band]
        with rasterio.open(
            folder / f"{name}_{band}.tif",
            "w",
            driver="GTiff",
            width=values.shape[1],
            height=values.shape[0],
            count=1,
            dtype="uint16",
            crs=crs,
            transform=from_origin(west, north, metres, metres),
        ) as file:
            file.write(values, 1)
    labels = {
        "labels": [_LABELS[cover] for cover, _ in scene.covers],
        "coordinates": {
            "ulx": west,
            "uly": north,
            "lrx": west + _PATCH_M,
            "lry": north - _PATCH_M,
        },
        "projection": projection,
        "tile_source": f"S2A_MSIL1C_{taken:%Y%m%dT%H%M%S}_N0205_R022_T33UUP_generated.SAFE",
        "acquisition_date": f"{taken:%Y-%m-%d %H:%M:%S}",
    }
    (folder / f"{name}_labels_metadata.json").write_text(json.dumps(labels), encoding="utf-8")
    return name


def _bands(scene: scenes.Scene) -> dict[str, np.ndarray]:
    """Return uint16 reflectances x 10,000 per band, each at its own resolution."""
    rgb = scenes.render(scene, when="pre").astype(np.float32)
    covers = scenes.cover_map(scene)
    texture = rgb.mean(axis=2) / rgb.mean()
    table = np.array([_REFLECTANCE[cover] for cover in scenes.COVERS], np.float32)
    full = {band: rgb[..., index] / 255 * 2000 for band, index in _VISIBLE.items()}
    for index, band in enumerate(_OTHERS):
        full[band] = table[covers, index] * (0.9 + 0.1 * texture)
    return {band: _shrunk(full[band], _FACTORS[metres]) for band, metres in _METRES.items()}


def _shrunk(values: np.ndarray, factor: int) -> np.ndarray:
    """Return block means, `factor` x `factor` pixels each, rounded to uint16."""
    side = SIDE_PX // factor
    blocks = values.reshape(side, factor, side, factor).mean(axis=(1, 3))
    return np.rint(blocks).astype(np.uint16)
