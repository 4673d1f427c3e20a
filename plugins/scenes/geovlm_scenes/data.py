"""Reads sets of scenes: a folder per class, images in it. The label is the folder alone.

The class folders may lie in the data set's folder or up to six levels below, as `2750/` of EuroSAT
and `images/` of PatternNet; those of the shallowest level with images count. Folders are compared
without case, blanks and underscores. No image is opened.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from geovlm import files
from geovlm.api import Json, LoadContext, Sample
from geovlm.errors import DatasetNotFoundError
from geovlm_scenes import EuroSatMsOptions, SceneOptions, bands, sets, splits
from geovlm_scenes.sets import SceneSet, key
from geovlm_scenes.splits import Picture

_LEVELS = 7  # ds/images/remote_sensing/otherDatasets/sentinel_2/tif of EuroSATallBands.zip
_FOLDERS = 2000  # of one level; more are no set of scenes
_META: Mapping[str, Mapping[str, Json]] = {
    each.name: {"sensor": "Sentinel-2", "gsd_m": 10} for each in (sets.EUROSAT, sets.EUROSAT_MS)
}


class Level(NamedTuple):
    """Folders of one level of a data set."""

    classes: dict[str, list[str]]
    """Folder of a class, as the release spells it -> paths."""
    others: list[str]


def _load(scenes: SceneSet, ctx: LoadContext) -> Iterator[Sample]:
    """Yield the images of a split, in an order that mixes the classes.

    Target: `answer`, `labels` (the one) and `vocabulary`, in the words of the question.

    Raises:
        DatasetNotFoundError: there is no folder of a class with images, or no list of the split.
        DataError: the list of the split names no image.
    """
    chosen = splits.select(_pictures(scenes, ctx), scenes, ctx)
    return islice((_sample(each, scenes, ctx.options) for each in chosen), ctx.limit)


def _official(scenes: SceneSet, ctx: LoadContext) -> int | None:
    """Return the number of images of a split in the official release; `None` with lists."""
    own: SceneOptions = ctx.options
    if own.split_by == "none":
        return sum(scenes.counts.values()) if ctx.split == "test" else 0
    return splits.official_size(scenes, ctx.split) if own.split_by == "hash" else None


load_aid = partial(_load, sets.AID)
load_ucm = partial(_load, sets.UCM)
load_whu_rs19 = partial(_load, sets.WHU)
load_resisc45 = partial(_load, sets.RESISC45)
load_eurosat = partial(_load, sets.EUROSAT)
load_eurosat_ms = partial(_load, sets.EUROSAT_MS)
load_patternnet = partial(_load, sets.PATTERNNET)
load_rsi_cb256 = partial(_load, sets.RSI_CB256)
official_aid = partial(_official, sets.AID)
official_ucm = partial(_official, sets.UCM)
official_whu_rs19 = partial(_official, sets.WHU)
official_resisc45 = partial(_official, sets.RESISC45)
official_eurosat = partial(_official, sets.EUROSAT)
official_eurosat_ms = partial(_official, sets.EUROSAT_MS)
official_patternnet = partial(_official, sets.PATTERNNET)
official_rsi_cb256 = partial(_official, sets.RSI_CB256)


def _pictures(scenes: SceneSet, ctx: LoadContext) -> list[Picture]:
    """Return all images of the data set; folders that are no class are reported once."""
    by_key = {key(folder): folder for folder in scenes.folders}
    level = [str(ctx.root)]
    for _ in range(_LEVELS):
        found = _below(level, by_key)
        pictures = [
            Picture(folder, name.rpartition(".")[0], f"{path}{os.sep}{name}")
            for folder in scenes.folders
            for path in found.classes.get(folder, ())
            for name in _images(path, scenes)
        ]
        if pictures:
            for path in found.others if ctx.split == "train" else ():
                if _images(path, scenes):
                    ctx.skip("folder that is none of the classes", Path(path).name)
            return pictures
        level = found.others
        if not 0 < len(level) <= _FOLDERS:
            break
    folder = scenes.folders[0]
    example = f"{folder}/{scenes.stem(folder, scenes.first)}{scenes.suffixes[0]}"
    raise DatasetNotFoundError(
        scenes.name, ctx.root / folder, hint=f"expected a folder per class, such as {example}"
    )


def _below(folders: list[str], by_key: Mapping[str, str]) -> Level:
    """Return the folders in some folders, sorted by name."""
    level = Level({}, [])
    for above in folders:
        try:
            with os.scandir(above) as entries:
                inner = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
        except OSError:
            continue
        for name in inner:
            path, folder = f"{above}{os.sep}{name}", by_key.get(key(name))
            if folder is None:
                level.others.append(path)
            else:
                level.classes.setdefault(folder, []).append(path)
    return level


def _images(folder: str, scenes: SceneSet) -> list[str]:
    return [
        name
        for name in files.listed(Path(folder))
        if f".{name.rpartition('.')[2].lower()}" in scenes.suffixes
    ]


def _sample(picture: Picture, scenes: SceneSet, own: SceneOptions) -> Sample:
    path = Path(picture.path)
    fields: dict[str, Any] = {"images": (path,)}
    if isinstance(own, EuroSatMsOptions):
        fields = bands.images(path, own)
    return Sample(
        id=f"{picture.folder}/{picture.stem}",
        target=_targets(scenes.name)[picture.folder],
        meta=_META.get(scenes.name, {}),
        **fields,
    )


@cache
def _targets(name: str) -> dict[str, dict[str, Any]]:
    """Return folder -> target; images of a class share theirs."""
    scenes = next(each for each in sets.ALL if each.name == name)
    named = {key(each): each for each in scenes.classes}
    vocabulary = list(scenes.classes)
    return {
        folder: {
            "answer": named[key(folder)],
            "labels": [named[key(folder)]],
            "vocabulary": vocabulary,
        }
        for folder in scenes.folders
    }
