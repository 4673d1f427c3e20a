"""Reads LEVIR-CC, LEVIR-MCI, Dubai-CC and SYSU as they are unpacked; no image is opened.

LEVIR: `LevirCCcaptions.json` and `images/<split>/{A,B}/<name>.png`; LEVIR-MCI has masks beside.
Dubai-CC: `description_jsontr_te_val/{Train,Validation,Test}_Dubai_CC.json`, tiles in
`RGB/500_2000/` and `RGB/500_2010/`, or these in `imgs_tiles/`. SYSU: CDChat's
`sysu_test_captions.json` beside SYSU-CD's `test/{time1,time2}/NNNNN.png`.

The older image comes first. See `references.target` for the targets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from geovlm import files
from geovlm.api import Json, LoadContext, Sample
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm_change import LevirOptions, references

_DUBAI_FOLDER = "description_jsontr_te_val"
_DUBAI_FILES = {"train": "Train", "val": "Validation", "test": "Test"}
_DUBAI_TILES = ("RGB", "imgs_tiles/RGB", "imgs_tiles", ".")
_SYSU_NAME = re.compile(r"sysu_(?:train|val|test)_(\d+\.\w+)")


def load_levir(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the captioned pairs of a split of LEVIR-CC or LEVIR-MCI, in the order of the file.

    Raises:
        DatasetNotFoundError: the JSON file or the folder of images does not exist.
        DataError: the JSON file has no list of images; names the file.
    """
    own: LevirOptions = ctx.options or LevirOptions()
    path = files.find(ctx.root, own.file)
    if not path.is_file():
        hint = "put it there, or name another file with --set data.change/levir.options.file=NAME"
        raise DatasetNotFoundError("change/levir", path, hint=hint)
    folder = ctx.root / "images"
    if not folder.is_dir():
        hint = "unpack the images into images/{train,val,test}/{A,B}/"
        raise DatasetNotFoundError("change/levir", folder, hint=hint)
    return islice(_levir(ctx, path, files.Images([folder])), ctx.limit)


def load_dubai(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the pairs of a split of Dubai-CC, in the order of its file; errors as `load_levir`."""
    path = files.find(ctx.root / _DUBAI_FOLDER, f"{_DUBAI_FILES[ctx.split]}_Dubai_CC.json")
    if not path.is_file():
        hint = f"expected {_DUBAI_FOLDER}/{path.name} and the tiles in RGB/500_2000, RGB/500_2010"
        raise DatasetNotFoundError("change/dubai", path, hint=hint)
    tiles = next(
        (ctx.root / each for each in _DUBAI_TILES if (ctx.root / each / "500_2000").is_dir()), None
    )
    if tiles is None or not (tiles / "500_2010").is_dir():
        missing = (tiles or ctx.root / "RGB") / ("500_2000" if tiles is None else "500_2010")
        hint = "unpack the tiles into RGB/500_2000 and RGB/500_2010, or into imgs_tiles/RGB/…"
        raise DatasetNotFoundError("change/dubai", missing, hint=hint)
    return islice(_dubai(ctx, path, tiles), ctx.limit)


def load_sysu(ctx: LoadContext) -> Iterator[Sample]:
    """Yield CDChat's captioned pairs of SYSU-CD, in the order of its file; errors as `load_levir`.

    The target also has `regions`, the boxes of the changes in pixels.
    """
    name = f"sysu_{ctx.split}_captions.json"
    tried = [files.find(ctx.root / folder, name) for folder in ("", "data_files")]
    path = next((each for each in tried if each.is_file()), None)
    if path is None:
        hint = "it is data_files/sysu_test_captions.json of https://github.com/techmn/cdchat"
        raise DatasetNotFoundError("change/sysu", tried[0], hint=hint)
    folder = ctx.root / ctx.split
    for time in ("time1", "time2"):
        if not (folder / time).is_dir():
            hint = "unpack SYSU-CD, so that test/time1 and test/time2 lie beside the captions"
            raise DatasetNotFoundError("change/sysu", folder / time, hint=hint)
    return islice(_sysu(ctx, path, folder), ctx.limit)


def official_levir(ctx: LoadContext) -> int:
    """Return the number of captioned pairs of a split: 10,077 in all.

    Source: Chen-Yang-Liu/Change-Agent, Multi_change/data/LEVIR_MCI, 1b0b601.
    """
    return {"train": 6_815, "val": 1_333, "test": 1_929}[ctx.split]


def official_dubai(ctx: LoadContext) -> int:
    """Return the number of pairs of a split: 500 in all. Source: the official JSON files."""
    return {"train": 300, "val": 50, "test": 150}[ctx.split]


def official_sysu(ctx: LoadContext) -> int:
    """Return the number of captioned pairs. Source: techmn/cdchat, data_files, 211fb8c."""
    return 3_774


def _levir(ctx: LoadContext, path: Path, images: files.Images) -> Iterator[Sample]:
    for number, record in enumerate(_records(path)):
        name, split = record.get("filename"), record.get("split")
        if not isinstance(name, str) or not isinstance(split, str):
            # it belongs to no split: it is counted once, not in each of them
            if ctx.split == "train":
                ctx.skip("pair without a name or a split", f"image {number} of {path.name}")
            continue
        if split != ctx.split:
            continue
        folder = record.get("filepath")
        part = folder if isinstance(folder, str) and folder else split
        pair = [f"{part}/{side}/{name}" for side in ("A", "B")]
        yield from _sample(ctx, record, name, [(each, images.find(each)) for each in pair])


def _dubai(ctx: LoadContext, path: Path, tiles: Path) -> Iterator[Sample]:
    years = [files.Images([tiles / f"500_{year}"]) for year in (2000, 2010)]
    for number, record in enumerate(_records(path)):
        name = record.get("filename")
        if not isinstance(name, str):
            ctx.skip("pair without a name", f"image {number} of {path.name}")
            continue
        found = [
            (f"500_{year}/{name}", images.find(name))
            for year, images in zip((2000, 2010), years, strict=True)
        ]
        yield from _sample(ctx, record, name, found)


def _sysu(ctx: LoadContext, path: Path, folder: Path) -> Iterator[Sample]:
    times = [files.Images([folder / time]) for time in ("time1", "time2")]
    for number, record in enumerate(_records(path)):
        name = record.get("file_name")
        if not isinstance(name, str):
            ctx.skip("pair without a name", f"image {number} of {path.name}")
            continue
        known = _SYSU_NAME.fullmatch(name)
        file = known.group(1) if known else name  # CDChat's number is that of SYSU-CD
        found = [
            (f"{ctx.split}/time{time}/{file}", images.find(file))
            for time, images in enumerate(times, 1)
        ]
        captions = record.get("captions")
        sentences = [{"raw": text} for text in captions] if isinstance(captions, list) else None
        given = {"sentences": sentences}
        for sample in _sample(ctx, given, name, found):
            target: dict[str, Json] = {**sample.target, "regions": _regions(record)}
            yield Sample(id=sample.id, images=sample.images, target=target)


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the members of the list `images` of a file; one that is no object is empty."""
    whole = files.read_json(path)
    listed = whole.get("images") if isinstance(whole, dict) else None
    if not isinstance(listed, list):
        raise DataError(
            f"{path} holds no captions of pairs: it has no list 'images'",
            hint="expected {'images': [{'filename', …}]}",
        )
    for record in listed:
        yield record if isinstance(record, dict) else {}


def _sample(
    ctx: LoadContext, record: dict[str, Any], name: str, found: list[tuple[str, Path | None]]
) -> Iterator[Sample]:
    """Yield the sample of a pair, or none; `found` has the expected name and file of each image."""
    missing = [expected for expected, file in found if file is None]
    if missing:
        ctx.skip("image missing", missing[0])
        return
    said = record.get("sentences")
    texts = [
        each.get("raw") if isinstance(each, dict) else None
        for each in (said if isinstance(said, list) else ())
    ]
    target = references.target(ctx, texts, item=name)
    if target is not None:
        images = tuple(file for _, file in found if file is not None)
        yield Sample(id=name, images=images, target=target)


def _regions(record: dict[str, Any]) -> list[Json]:
    """Return the boxes of the changes, `[x0, y0, x1, y1]` in pixels, as far as they are sound."""
    given = record.get("attribute")
    listed = given.get("region_properties") if isinstance(given, dict) else None
    boxes: list[Json] = []
    for each in listed if isinstance(listed, list) else ():
        box = each.get("box") if isinstance(each, dict) else None
        if isinstance(box, list) and len(box) == 4 and all(type(n) in (int, float) for n in box):
            boxes.append(box)
    return boxes
