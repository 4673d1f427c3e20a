"""Generates pairs in xBD's layout: tiles of 256 px, where the real ones have 1024 px."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from geovlm import scenes
from geovlm_xbd.data import FOLDERS

SIDE_PX = 256
_EVENTS = {
    "volcano": "guatemala-volcano",
    "fire": "santa-rosa-wildfire",
    "earthquake": "mexico-earthquake",
    "flood": "midwest-flooding",
    "tsunami": "palu-tsunami",
    "wind": "hurricane-michael",
}
"""Disaster type -> an event of that type in xBD."""


def make_sample(root: Path, n: int, seed: int) -> None:
    """Write n pairs per split: images and label files with all official keys.

    About a tenth of the pairs have no building, and about a quarter no damage.
    """
    for number, (folder, *_) in enumerate(FOLDERS.values()):
        (root / folder / "images").mkdir(parents=True, exist_ok=True)
        (root / folder / "labels").mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng((seed, number))
        for index in range(n):
            _write_pair(root / folder, number * n + index, rng=rng)


def _write_pair(folder: Path, index: int, *, rng: np.random.Generator) -> None:
    draw = rng.random()
    count = (0, 0) if draw < 0.1 else (1, 4)
    damages = ("no-damage",) if draw < 0.35 else scenes.DAMAGES
    scene = scenes.compose(
        rng, size_px=(SIDE_PX, SIDE_PX), count=count, disaster=None, damages=damages
    )
    name = f"{_EVENTS[scene.disaster]}_{index:08d}"
    uids = [str(uuid.UUID(bytes=rng.bytes(16), version=4)) for _ in scene.items]
    for when in ("pre", "post"):
        image = Image.fromarray(scenes.render(scene, when=when))  # type: ignore[arg-type]
        stem = f"{name}_{when}_disaster"
        image.save(folder / "images" / f"{stem}.png", compress_level=1)
        features = [
            _feature(item, uid, when=when) for item, uid in zip(scene.items, uids, strict=True)
        ]
        label = {
            "features": {"lng_lat": [], "xy": features},
            "metadata": _metadata(scene, stem, when=when),
        }
        (folder / "labels" / f"{stem}.json").write_text(json.dumps(label), encoding="utf-8")


def _feature(item: scenes.Item, uid: str, *, when: str) -> dict[str, Any]:
    x0, y0, x1, y1 = (float(value) for value in item.box)
    properties = {"feature_type": "building", "uid": uid}
    if when == "post":
        properties["subtype"] = item.damage
    ring = ", ".join(f"{x} {y}" for x, y in [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)])
    return {"properties": properties, "wkt": f"POLYGON (({ring}))"}


def _metadata(scene: scenes.Scene, stem: str, *, when: str) -> dict[str, Any]:
    kind = "flooding" if scene.disaster == "flood" else scene.disaster
    return {
        "sensor": "GENERATED",
        "provider_asset_type": "GENERATED",
        "gsd": 2.0,
        "capture_date": f"2018-0{1 if when == 'pre' else 2}-01T00:00:00.000Z",
        "off_nadir_angle": 0.0,
        "pan_resolution": 0.5,
        "sun_azimuth": 150.0,
        "sun_elevation": 60.0,
        "target_azimuth": 0.0,
        "disaster": stem.rpartition("_")[0].split("_")[0],
        "disaster_type": kind,
        "catalog_id": "generated",
        "original_width": scene.size_px[0],
        "original_height": scene.size_px[1],
        "width": scene.size_px[0],
        "height": scene.size_px[1],
        "id": stem,
        "img_name": f"{stem}.png",
    }
