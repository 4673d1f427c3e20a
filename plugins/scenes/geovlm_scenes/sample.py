"""Generates images of each class, in the layouts of the sets: every class has a pattern of its own.

The pattern is two colours that follow from the name of the class, in stripes or rings; their width,
direction and place differ between images.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio.crs import CRS
from rasterio.transform import from_origin

from geovlm_scenes import BANDS, sets
from geovlm_scenes.bands import SIDE_PX
from geovlm_scenes.sets import SceneSet
from geovlm_scenes.splits import Hashed

_INNER = {"scenes/ucm": "Images", "scenes/eurosat": "2750", "scenes/patternnet": "images"}
_GROUND = {
    "forest": (900, 700, 640, 420, 700, 1700, 2100, 2050, 700, 12, 1000, 480, 2300),
    "grass": (1050, 850, 850, 560, 1050, 2900, 3700, 3600, 1050, 10, 1800, 850, 4000),
    "crop": (1300, 1120, 1080, 1180, 1350, 1750, 2000, 1980, 600, 12, 2700, 1950, 2250),
    "built": (1400, 1250, 1250, 1350, 1500, 1900, 2100, 2050, 650, 14, 2100, 1800, 2250),
    "water": (1150, 900, 700, 420, 350, 280, 260, 230, 90, 9, 90, 60, 210),
}
"""Kind of ground -> reflectance x 10,000 at the top of the atmosphere per band, typical."""
_HAZE = (950, 700, 450, 250, 200, 150, 120, 100, 30, 5, 10, 5, 80)
"""The part of it that the air adds, which does not vary over a tile."""
_MIXED = {
    "AnnualCrop": ("crop", "grass", 0.25),
    "Forest": ("forest", "forest", 0.0),
    "HerbaceousVegetation": ("grass", "crop", 0.5),
    "Highway": ("built", "grass", 0.6),
    "Industrial": ("built", "built", 0.0),
    "Pasture": ("grass", "grass", 0.0),
    "PermanentCrop": ("crop", "forest", 0.4),
    "Residential": ("built", "grass", 0.35),
    "River": ("water", "grass", 0.5),
    "SeaLake": ("water", "water", 0.0),
}
"""Class of EuroSAT -> kinds of ground, and the share of the second."""


def _make(scenes: SceneSet, root: Path, n: int, seed: int) -> None:
    """Write n images per split, class by class in turn."""
    rng = np.random.default_rng(seed)
    ending = scenes.suffixes[0]
    for folder, stem in _names(scenes, n):
        path = root / _INNER.get(scenes.name, "") / folder / f"{stem}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if scenes is sets.EUROSAT_MS:
            _write_bands(path, _tile(folder, rng))
            continue
        pattern = _pattern(folder, scenes.side_px, rng)
        Image.fromarray(pattern).save(path, quality=85)  # of JPEG; others ignore it


def _names(scenes: SceneSet, n: int) -> Iterator[tuple[str, str]]:
    """Yield folder and name of n images of each split, the classes in turn."""
    hashed = Hashed(scenes)
    for split in ("train", "val", "test"):
        stems = {folder: _of_split(hashed, folder, split) for folder in scenes.folders}
        for number in range(n):
            folder = scenes.folders[number % len(scenes.folders)]
            yield folder, next(stems[folder])


def _of_split(hashed: Hashed, folder: str, split: str) -> Iterator[str]:
    generated = hashed.scenes.generated(folder)
    return (stem for stem in generated if hashed.split(folder, stem) == split)


def _pattern(folder: str, side_px: int, rng: np.random.Generator) -> np.ndarray:
    """Return the picture of a class, (H, W, 3) uint8."""
    code = sha256(folder.encode()).digest()
    colours = np.array([[code[0], code[1], code[2]], [code[3], code[4], code[5]]], np.float32)
    line = (np.arange(side_px, dtype=np.float32) + 0.5) / side_px
    x, y = line[None, :] - rng.uniform(0.3, 0.7), line[:, None] - rng.uniform(0.3, 0.7)
    turn = rng.uniform(0, np.pi)
    along = np.hypot(x, y) if code[6] % 2 else np.abs(x * np.cos(turn) + y * np.sin(turn))
    stripes = (along * (3 + code[7] % 6) * rng.uniform(0.9, 1.1)) % 1 < 0.5
    grain = rng.normal(0, 8, (64, 64)).astype(np.float32)
    cells = (line * 64).astype(np.intp)
    shade = grain[cells[:, None], cells] + rng.uniform(-12, 12)
    picture = colours[stripes.astype(np.intp)] + shade[..., None]
    return np.clip(picture, 0, 255).astype(np.uint8)


def _tile(folder: str, rng: np.random.Generator) -> np.ndarray:
    """Return the bands of a tile of EuroSAT, (13, H, W) uint16."""
    first, second, share = _MIXED[folder]
    field = rng.normal(0, 1, (8, 8))
    cells = np.arange(SIDE_PX) * 8 // SIDE_PX
    other = (field < np.quantile(field, share))[cells[:, None], cells] if share else False
    ground = np.where(
        np.broadcast_to(other, (SIDE_PX, SIDE_PX))[None],
        np.array(_GROUND[second])[:, None, None],
        np.array(_GROUND[first])[:, None, None],
    )
    shade = 1 + 0.08 * rng.standard_normal((SIDE_PX, SIDE_PX))
    haze = np.minimum(0.9 * ground, np.array(_HAZE)[:, None, None])
    return np.rint(np.clip(haze + (ground - haze) * shade, 1, 10_000)).astype(np.uint16)


def _write_bands(path: Path, values: np.ndarray) -> None:
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=SIDE_PX,
        height=SIDE_PX,
        count=len(BANDS),
        dtype="uint16",
        interleave="pixel",
        crs=CRS.from_epsg(32632),
        transform=from_origin(600_000, 5_400_000, 10, 10),
    ) as file:
        file.write(values)


make_aid = partial(_make, sets.AID)
make_ucm = partial(_make, sets.UCM)
make_whu_rs19 = partial(_make, sets.WHU)
make_resisc45 = partial(_make, sets.RESISC45)
make_eurosat = partial(_make, sets.EUROSAT)
make_eurosat_ms = partial(_make, sets.EUROSAT_MS)
make_patternnet = partial(_make, sets.PATTERNNET)
make_rsi_cb256 = partial(_make, sets.RSI_CB256)
