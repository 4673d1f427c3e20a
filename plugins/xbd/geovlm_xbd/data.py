"""Reads xBD as it is unpacked.

Layout: `<root>/{train,test,hold,tier3}/{images,labels}/<disaster>_<8 digits>_{pre,post}_disaster`
with `.png` and `.json`; splits train, val and test are the folders train, hold and test. The other
release, "with GEOTIFF metadata", is read too: `<root>/{tier1,test,hold,tier3}` or
`<root>/geotiffs/…` with `.tif`; its tier1 is train. Only label files are read here, no pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import shapely

from geovlm import files
from geovlm.api import Json, LoadContext, Sample
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm_xbd import DAMAGES, DISASTERS, UNCLASSIFIED, XbdOptions

FOLDERS = {"train": ("train", "tier1"), "val": ("hold",), "test": ("test",)}
"""Split -> the names of its folder, in the release with PNG images and in that with GeoTIFFs."""
_POST = "_post_disaster"


class Outline(NamedTuple):
    """Extent of a building."""

    box: tuple[float, float, float, float]
    """Enclosing box, cut at the borders of the image, pixels."""
    area: float
    """Area of the polygon, square pixels."""


class Buildings(NamedTuple):
    """Buildings of a pair: those with a level, the levels of the others, those not classified."""

    boxes: list[Json]
    damage: list[Json]
    areas: list[Json]
    left_out: list[Json]
    unclassified: list[Json]
    """Box and area, five numbers each."""


def load(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the pairs of a split in the order of their names.

    Each sample has two images, before and after. Its target: `boxes` (enclosing boxes of the
    polygons in pixels of the image after), `damage` and `areas` (level and square pixels of the
    polygon, one per box), `unclassified` (box and area of the buildings that the annotators could
    not judge), `disaster_type` (`None` if the labels do not state it), `trains` (split `train`).

    Raises:
        DatasetNotFoundError: the split's folder, or its labels, do not exist.
        DataError: no label file of a folder can be read; names the folder.
    """
    own = ctx.options or XbdOptions()
    parts = [FOLDERS[ctx.split]]
    if own.tier3 and ctx.split == "train":
        parts.append(("tier3",))
    return islice((s for part in parts for s in _pairs(ctx, names=part, own=own)), ctx.limit)


def official(ctx: LoadContext) -> int:
    """Return the number of pairs of a split.

    Source: microsoft/building-damage-assessment-cnn-siamese, all_disaster_splits.json.
    """
    pairs = {"train": 2_799, "val": 933, "test": 933}[ctx.split]
    return pairs + (6_369 if ctx.options.tier3 and ctx.split == "train" else 0)


def _folder(ctx: LoadContext, names: tuple[str, ...], *, labels: str) -> Path:
    """Return the folder of a part of the data set, in either release."""
    for root in (ctx.root, ctx.root / "geotiffs"):
        for name in names:
            if (root / name / labels).is_dir():
                return root / name
    part = names[0]
    raise DatasetNotFoundError(
        "xbd",
        ctx.root / part / labels,
        hint=f"expected {part}/images and {part}/{labels}; --set "
        "data.xbd.options.labels=NAME reads another label folder",
    )


def _pairs(ctx: LoadContext, *, names: tuple[str, ...], own: XbdOptions) -> Iterator[Sample]:
    folder = _folder(ctx, names, labels=own.labels)
    labels = folder / own.labels
    images = files.Images([folder / "images"])
    found = {_scene(each): each for each in files.listed(labels, ending=f"{_POST}.json")}
    for image in images.names():
        if _scene(image) not in found and Path(image).stem.endswith(_POST):
            ctx.skip("label missing", image)
    unreadable: list[DataError] = []
    for name, file in found.items():
        pair = [f"{name}_{when}_disaster.png" for when in ("pre", "post")]
        paths = [images.find(image) for image in pair]
        missing = [image for image, path in zip(pair, paths, strict=True) if path is None]
        if missing:
            ctx.skip("image missing", missing[0])
            continue
        try:
            meta, polygons = _record(labels / file)
        except DataError as error:
            ctx.skip("label file unreadable", str(error.args[0]))
            unreadable.append(error)
            continue
        kind = str(meta.get("disaster_type", "")).replace("flooding", "flood")
        if kind not in DISASTERS:
            ctx.skip("no disaster type (pair kept without it)", f"{file}: {kind!r}")
        held = _buildings(polygons, _size(meta), name=file, ctx=ctx, own=own)
        yield Sample(
            id=name if names != ("tier3",) else f"tier3/{name}",
            images=tuple(path for path in paths if path is not None),
            target={
                "boxes": held.boxes,
                "damage": held.damage,
                "areas": held.areas,
                "unclassified": held.unclassified,
                "left_out": len(held.left_out),
                "perhaps_damaged": sum(level != "no-damage" for level in held.left_out),
                "disaster_type": kind if kind in DISASTERS else None,
                "trains": ctx.split == "train",
            },
            meta={
                "event": _plain(meta.get("disaster")),
                "gsd_m": _plain(meta.get("gsd")),
                "sensor": _plain(meta.get("sensor")),
                "captured": _plain(meta.get("capture_date")),
                "licence": "CC-BY-NC-SA-4.0",
            },
        )
    if unreadable and len(unreadable) == len(found):
        raise DataError(
            f"none of the {len(found)} label files in {labels} can be read; the first: "
            f"{unreadable[0].args[0]}",
            hint=unreadable[0].hint,
        )


def _scene(file: str) -> str:
    """Return the name of the scene of a file of the image after the disaster."""
    return file.rpartition(".")[0].removesuffix(_POST)


def _record(path: Path) -> tuple[dict[str, Any], list[Any]]:
    """Return metadata and buildings of a label file.

    Raises:
        DataError: it cannot be read or does not have the form of xBD; names file and reason.
    """
    record = files.read_json(path)
    features = record.get("features") if isinstance(record, dict) else None
    polygons = features.get("xy") if isinstance(features, dict) else None
    if not isinstance(polygons, list):
        raise DataError(f"{path} has no list features.xy", hint="is it a label file of xBD?")
    meta = record.get("metadata")
    return meta if isinstance(meta, dict) else {}, polygons


def _size(meta: dict[str, Any]) -> tuple[float, float]:
    """Return width and height in the metadata, pixels; 1024 where they state none."""
    sides = (_plain(meta.get(side)) for side in ("width", "height"))
    width, height = (
        float(side) if isinstance(side, int | float) and side > 0 else 1024.0 for side in sides
    )
    return width, height


def _plain(value: Any) -> Json:
    """Return a text or a finite number as it is, `None` for everything else."""
    if isinstance(value, str):
        return value
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return value if is_number else None


def _buildings(
    polygons: list[Any],
    size: tuple[float, float],
    *,
    name: str,
    ctx: LoadContext,
    own: XbdOptions,
) -> Buildings:
    """Return the buildings of a label file; those left out are counted."""
    found = Buildings([], [], [], [], [])
    for number, feature in enumerate(polygons):
        level, reason = _level(feature, own)
        outline = _outline(feature, size, own) if level in (*DAMAGES, UNCLASSIFIED) else None
        if level == UNCLASSIFIED and isinstance(outline, Outline):
            found.unclassified.append([*outline.box, outline.area])
        if level in DAMAGES and isinstance(outline, Outline):
            found.boxes.append(list(outline.box))
            found.damage.append(level)
            found.areas.append(outline.area)
            continue
        if level in DAMAGES:
            reason = str(outline)
        ctx.skip(reason, f"{name} #{number}")
        found.left_out.append(level)
    return found


def _level(feature: Any, own: XbdOptions) -> tuple[Json, str]:
    """Return the damage level of a building, and the reason to leave it out without one."""
    if not isinstance(feature, dict):
        return None, "building that is not a JSON object"
    properties = feature.get("properties")
    level = properties.get("subtype") if isinstance(properties, dict) else None
    if level == UNCLASSIFIED and own.unclassified == "no-damage":
        level = "no-damage"
    known = isinstance(level, str) and level
    return level, f"building {level}" if known else "building without damage level"


def _outline(feature: Any, size: tuple[float, float], own: XbdOptions) -> Outline | str:
    """Return box and area of a building, or the reason why it has none."""
    try:
        polygon = shapely.from_wkt(feature["wkt"])
        x0, y0, x1, y1 = polygon.bounds
    except (shapely.errors.GEOSException, KeyError, TypeError, ValueError, AttributeError):
        return "polygon unreadable"
    if not all(math.isfinite(side) for side in (x0, y0, x1, y1)):
        return "polygon empty"
    x0, x1 = max(0.0, x0), min(size[0], x1)
    y0, y1 = max(0.0, y0), min(size[1], y1)
    if x1 <= x0 or y1 <= y0 or (x1 - x0) * (y1 - y0) < own.min_area_px:
        return "building too small or outside"
    return Outline((x0, y0, x1, y1), polygon.area)
