"""Generates places in the layout of fMoW-rgb: images of several dates, with and without `ms`.

Each image shows land under another light, and in the box of the place a pattern of its category.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from geovlm_fmow import VIEWS
from geovlm_fmow.categories import CATEGORIES
from geovlm_fmow.data import FOLDERS

_SIZE = (320, 240)
_COARSER = 4  # pixels of an image in one of its `msrgb` sibling, along each side


def make_sample(root: Path, n: int, seed: int) -> None:
    """Write n places of four to six dates per split, category by category in turn."""
    rng = np.random.default_rng(seed)
    for split in FOLDERS.values():
        for number in range(n):
            category = CATEGORIES[number % len(CATEGORIES)]
            place = f"{category}_{number // len(CATEGORIES)}"
            folder = root / split / category / place
            folder.mkdir(parents=True)
            taken = datetime(2010, 1, 1) + timedelta(days=int(rng.integers(1000)))
            box = _box(rng)
            for view in range(VIEWS + int(rng.integers(3))):
                taken += timedelta(days=int(rng.integers(20, 500)), seconds=int(rng.integers(900)))
                picture = Image.fromarray(_picture(category, box, rng))
                name = f"{place}_{view}"
                for kind, factor in (("rgb", 1), ("msrgb", _COARSER)):
                    shown = picture.reduce(factor) if factor > 1 else picture
                    shown.save(folder / f"{name}_{kind}.jpg", quality=85)
                    record = _record(category, box, taken, name=f"{name}_{kind}", factor=factor)
                    text = json.dumps(record)
                    (folder / f"{name}_{kind}.json").write_text(text, encoding="utf-8")


def _box(rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Return left, top, width and height of a place, pixels."""
    width, height = (4 * int(rng.integers(20, 36)) for _ in range(2))
    left, top = (4 * int(rng.integers(2, (whole - 144) // 4)) for whole in _SIZE)
    return left, top, width, min(height, _SIZE[1] - top)


def _record(
    category: str, box: tuple[int, int, int, int], taken: datetime, *, name: str, factor: int
) -> dict[str, Any]:
    """Return metadata with the keys of the release with ground truth, of which loaders read some.

    One object has two entries, the first with the `ID` -1.
    """
    sides = [side // factor for side in box]
    drawn = {"ID": -1, "box": sides, "category": category, "raw_category": category.title()}
    true = {"ID": 1, "box": sides, "category": category, "visible": "True"}
    return {
        "bounding_boxes": [drawn, true],
        "category": category,
        "cloud_cover": 0,
        "country_code": "CHE",
        "gsd": 0.5 * factor,
        "img_filename": f"{name}.tif",
        "img_height": _SIZE[1] // factor,
        "img_width": _SIZE[0] // factor,
        "timestamp": f"{taken:%Y-%m-%dT%H:%M:%SZ}",
        "utm": "32T",
    }


def _picture(category: str, box: tuple[int, int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Return an image of a place, (H, W, 3) uint8."""
    light = rng.uniform(0.75, 1.2)
    land = np.array([96, 108, 70], np.float32) + rng.normal(0, 9, (_SIZE[1] // 8, _SIZE[0] // 8, 1))
    picture = np.repeat(np.repeat(land, 8, axis=0), 8, axis=1)
    left, top, width, height = box
    code = sha256(category.encode()).digest()
    colours = np.array([list(code[:3]), list(code[3:6])], np.float32)
    x = (np.arange(width, dtype=np.float32)[None, :] / width) - 0.5
    y = (np.arange(height, dtype=np.float32)[:, None] / height) - 0.5
    turn = code[8] / 256 * np.pi
    along = np.hypot(x, y) if code[6] % 2 else np.abs(x * np.cos(turn) + y * np.sin(turn))
    stripes = (along * (3 + code[7] % 4)) % 1 < 0.5
    picture[top : top + height, left : left + width] = colours[stripes.astype(np.intp)]
    return np.clip(picture * light, 0, 255).astype(np.uint8)
