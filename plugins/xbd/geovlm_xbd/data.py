"""Reads xBD as it is unpacked.

Layout: `<root>/{train,test,hold,tier3}/{images,labels}/<disaster>_<8 digits>_{pre,post}_disaster`
with `.png` and `.json`; splits train, val and test are the folders train, hold and test. Only label
files are read here, no pixels.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

import shapely

from geovlm.api import Json, LoadContext, Sample
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm_xbd import DAMAGES, DISASTERS, XbdOptions

FOLDERS = {"train": "train", "val": "hold", "test": "test"}
"""Split -> its folder."""


def load(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the pairs of a split in the order of their names.

    Each sample has two images, before and after. Its target: `boxes` (enclosing boxes of the
    polygons in pixels of the image after), `damage` (one level per box), `disaster_type` (`None`
    if the labels do not state it).

    Raises:
        DatasetNotFoundError: the split's folder, or its labels, do not exist.
        DataError: no label file of a folder can be read; names the folder.
    """
    own = ctx.options or XbdOptions()
    parts = [FOLDERS[ctx.split]]
    if own.tier3 and ctx.split == "train":
        parts.append("tier3")
    return islice((s for part in parts for s in _pairs(ctx, part=part, own=own)), ctx.limit)


def official(ctx: LoadContext) -> int:
    """Return the number of pairs of a split.

    Source: microsoft/building-damage-assessment-cnn-siamese, all_disaster_splits.json.
    """
    pairs = {"train": 2_799, "val": 933, "test": 933}[ctx.split]
    return pairs + (6_369 if ctx.options.tier3 and ctx.split == "train" else 0)


def _pairs(ctx: LoadContext, *, part: str, own: XbdOptions) -> Iterator[Sample]:
    labels = ctx.root / part / own.labels
    if not labels.is_dir():
        raise DatasetNotFoundError(
            "xbd",
            labels,
            hint=f"expected {part}/images and {part}/{own.labels}; --set "
            "data.xbd.options.labels=NAME reads another label folder",
        )
    images = ctx.root / part / "images"
    present = {path.name for path in images.iterdir()} if images.is_dir() else set()
    files = sorted(labels.glob("*_post_disaster.json"))
    labelled = {path.with_suffix(".png").name for path in files}
    for image in sorted(present - labelled):
        if image.endswith("_post_disaster.png"):
            ctx.skip("label missing", image)
    unreadable = 0
    for path in files:
        name = path.name.removesuffix("_post_disaster.json")
        pair = [f"{name}_{when}_disaster.png" for when in ("pre", "post")]
        missing = [image for image in pair if image not in present]
        if missing:
            ctx.skip("image missing", missing[0])
            continue
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            meta, polygons = dict(record["metadata"]), [dict(f) for f in record["features"]["xy"]]
            size = (float(meta.get("width", 1024)), float(meta.get("height", 1024)))
        except (ValueError, KeyError, TypeError) as error:
            ctx.skip("label file unreadable", f"{path.name}: {error!r}")
            unreadable += 1
            continue
        kind = str(meta.get("disaster_type", "")).replace("flooding", "flood")
        if kind not in DISASTERS:
            ctx.skip("no disaster type (pair kept without it)", f"{path.name}: {kind!r}")
        boxes, damage, left_out = _buildings(polygons, size, name=path.name, ctx=ctx, own=own)
        yield Sample(
            id=name if part != "tier3" else f"tier3/{name}",
            images=(images / pair[0], images / pair[1]),
            target={
                "boxes": boxes,
                "damage": damage,
                "left_out": len(left_out),
                "perhaps_damaged": sum(level != "no-damage" for level in left_out),
                "disaster_type": kind if kind in DISASTERS else None,
            },
            meta={
                "event": meta.get("disaster"),
                "gsd_m": meta.get("gsd"),
                "sensor": meta.get("sensor"),
                "captured": meta.get("capture_date"),
                "licence": "CC-BY-NC-SA-4.0",
            },
        )
    if files and unreadable == len(files):
        raise DataError(
            f"none of the {unreadable} label files in {labels} can be read",
            hint="unpack the archive again",
        )


def _buildings(
    polygons: list[dict[str, Any]],
    size: tuple[float, float],
    *,
    name: str,
    ctx: LoadContext,
    own: XbdOptions,
) -> tuple[list[Json], list[Json], list[Json]]:
    """Return boxes and damage levels of the buildings that count, and the levels of the others."""
    width, height = size
    boxes: list[Json] = []
    damage: list[Json] = []
    left_out: list[Json] = []

    def skip(reason: str, number: int, level: Json) -> None:
        ctx.skip(reason, f"{name} #{number}")
        left_out.append(level)

    for number, feature in enumerate(polygons):
        properties = feature.get("properties")
        level = properties.get("subtype") if isinstance(properties, dict) else None
        if level == "un-classified" and own.unclassified == "no-damage":
            level = "no-damage"
        if level not in DAMAGES:
            skip(f"building {level or 'without damage level'}", number, level)
            continue
        try:
            x0, y0, x1, y1 = shapely.from_wkt(feature["wkt"]).bounds
        except (shapely.errors.GEOSException, KeyError, TypeError, ValueError):
            skip("polygon unreadable", number, level)
            continue
        if not all(math.isfinite(side) for side in (x0, y0, x1, y1)):
            skip("polygon empty", number, level)
            continue
        x0, x1 = max(0.0, x0), min(width, x1)
        y0, y1 = max(0.0, y0), min(height, y1)
        if x1 <= x0 or y1 <= y0 or (x1 - x0) * (y1 - y0) < own.min_area_px:
            skip("building too small or outside", number, level)
            continue
        boxes.append([x0, y0, x1, y1])
        damage.append(level)
    return boxes, damage, left_out
