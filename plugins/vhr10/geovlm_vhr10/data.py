"""Reads NWPU VHR-10: `positive image set/NNN.jpg` with `ground truth/NNN.txt`.

Images, sizes and boxes become groups of objects, EarthDial's own where its rows are at hand. The
150 images of `negative image set` have no objects and are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from geovlm import files, raster
from geovlm.api import Json, LoadContext, Sample, Size, Split
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm_vhr10 import COLOURS, Vhr10Options, objects, rows
from geovlm_vhr10.groups import Group, Thing, rebuild

FOLDER = "positive image set"
NUMBER = 650
"""Images of the official release."""
_OF_TEN: tuple[Split, ...] = ("test",) * 3 + ("val",) + ("train",) * 6
_WORKERS = 8
_BATCH = 32


class Picture(NamedTuple):
    """An image on disk."""

    name: str
    """Its file without ending: `001`."""
    path: Path
    size: Size
    things: Sequence[Thing]


def load(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the images of a split with their groups of objects, in the order of their names.

    Target: `boxes` (pixels), `percent` (the same in whole percent, see `groups.percent`),
    `box_labels` (classes), `groups`: `phrase`, `noun`, `colour`, `size`, `label` (class), `place`,
    `members` (positions in `boxes`) and `use` (`refer` or `region`) of each.

    Raises:
        DatasetNotFoundError: there are no annotations, no images, or no folder of rows that was
            named.
        DataError: annotations or rows cannot be used; names the file.
    """
    own = ctx.options or Vhr10Options()
    return islice(_samples(ctx, own), ctx.limit)


def official(ctx: LoadContext) -> int:
    """Return the number of images with objects of a split in the official release."""
    by_hash = ctx.options is None or ctx.options.split_by == "hash"
    names = [f"{number:03d}" for number in range(1, NUMBER + 1)]
    return sum(split_of(name, by_hash=by_hash) == ctx.split for name in names)


def split_of(name: str, *, by_hash: bool) -> Split:
    """Return the split of an image; without hashing it is test."""
    if not by_hash:
        return "test"
    return _OF_TEN[int.from_bytes(sha256(name.encode()).digest()[:8]) % 10]


def nearest_colour(red: float, green: float, blue: float) -> str:
    """Return the CSS 2.1 colour nearest to a colour of 0 to 255; the first one of several."""
    return min(
        COLOURS,
        key=lambda name: sum(
            (a - b) ** 2 for a, b in zip(COLOURS[name], (red, green, blue), strict=True)
        ),
    )


def _samples(ctx: LoadContext, own: Vhr10Options) -> Iterator[Sample]:
    folder = _rows_folder(ctx.root, own)
    by_hash = own.split_by == "hash"
    read = objects.from_texts if own.annotations == "text" else objects.from_coco
    found = read(ctx.root, skip=ctx.skip)
    if folder is None:
        found = {n: held for n, held in found.items() if split_of(n, by_hash=by_hash) == ctx.split}
    pictures = list(_pictures(ctx, found))
    if folder is not None:
        yield from _published(ctx, own, folder, pictures)
        return
    seen = _colours if own.colours == "nearest" else _no_colours
    for picture, colours in zip(pictures, _threaded(seen, pictures), strict=True):
        if colours is None:
            ctx.skip("image that cannot be read", picture.path.name)
            continue
        groups = rebuild(picture.things, colours, picture.size, key=picture.name)
        yield _sample(picture, groups, own, origin="rebuilt")


def _rows_folder(root: Path, own: Vhr10Options) -> Path | None:
    folder = root / (own.rows or rows.FOLDER)
    if folder.is_dir():
        return folder
    if own.rows:
        raise DatasetNotFoundError(
            "vhr10", folder, hint="data.vhr10.options.rows names the folder of EarthDial's rows"
        )
    return None


def _pictures(ctx: LoadContext, found: dict[str, list[Thing]]) -> Iterator[Picture]:
    """Yield the images on disk that have objects.

    Raises:
        DatasetNotFoundError: there are none in their folder.
    """
    images = files.Images([ctx.root / FOLDER, ctx.root])
    paths: dict[str, Path] = {}
    for name, things in found.items():
        path = images.find(f"{name}.jpg")
        if path is None:
            ctx.skip("image missing", f"{name}.jpg")
        elif not things:
            ctx.skip("image without an object", f"{name}.jpg")
        else:
            paths[name] = path
    if found and not paths:
        first = f"{next(iter(found))}.jpg"
        raise DatasetNotFoundError(
            "vhr10", ctx.root / FOLDER / first, hint=f"expected the images in '{FOLDER}'"
        )
    for (name, path), size in zip(paths.items(), _threaded(_size, paths.values()), strict=True):
        if size is None:
            ctx.skip("image that cannot be read", path.name)
            continue
        inside = [thing for thing in found[name] if _is_inside(thing, size)]
        for _ in range(len(found[name]) - len(inside)):
            ctx.skip("box that leaves the image", path.name)
        if inside:
            yield Picture(name, path, size, inside)


def _published(
    ctx: LoadContext, own: Vhr10Options, folder: Path, pictures: list[Picture]
) -> Iterator[Sample]:
    """Yield the images of the split, with the groups of EarthDial's rows."""
    # rows are matched over all splits, and reported in one
    tell = ctx.skip if ctx.split == "test" else lambda reason, item: None
    groups = rows.match(
        rows.read(folder, skip=tell),
        {picture.name: picture.things for picture in pictures},
        {picture.name: picture.size for picture in pictures},
        skip=tell,
    )
    if pictures and not any(groups.values()):
        raise DataError(
            f"no row of {folder} fits an image in {ctx.root}",
            hint="are these rows of NWPU VHR-10? Boxes of the COCO variant fit few of them",
        )
    for picture in pictures:
        if split_of(picture.name, by_hash=own.split_by == "hash") != ctx.split:
            continue
        held = groups[picture.name]
        named = {member for group in held for member in group.members}
        for number in range(len(picture.things)):
            if number not in named:
                ctx.skip("object in no row of EarthDial", f"{picture.name} object {number}")
        if held:
            yield _sample(picture, held, own, origin="earthdial")


def _sample(picture: Picture, groups: Sequence[Group], own: Vhr10Options, *, origin: str) -> Sample:
    """Return the sample of an image; `origin` of its groups is `earthdial` or `rebuilt`."""
    whole = own.boxes == "pixels"
    listed: list[Json] = [
        {
            "phrase": group.phrase,
            "noun": group.noun,
            "colour": group.colour,
            "size": group.size,
            "label": group.kind,
            "place": group.place,
            "members": list(group.members),
            "use": group.use,
        }
        for group in groups
    ]
    return Sample(
        id=picture.name,
        images=(picture.path,),
        target={
            "boxes": [
                list(thing.box) if whole else _rounded(thing, picture.size)
                for thing in picture.things
            ],
            "percent": [list(thing.percent(picture.size)) for thing in picture.things],
            "box_labels": [thing.kind for thing in picture.things],
            "groups": listed,
        },
        meta={"groups": origin},
        image_sizes=(picture.size,),
    )


def _rounded(thing: Thing, size: Size) -> list[Json]:
    """Return the box of its whole percents, pixels."""
    sides = (*size, *size)
    return [n * side / 100 for n, side in zip(thing.percent(size), sides, strict=True)]


def _threaded(function: Any, items: Any) -> Iterator[Any]:
    """Yield the results for the items in their order, computed by a few threads in batches."""
    rest = iter(items)
    with ThreadPoolExecutor(max_workers=_WORKERS) as pool:
        while batch := list(islice(rest, _BATCH)):
            yield from pool.map(function, batch)


def _size(path: Path) -> Size | None:
    try:
        return raster.image_size(path)
    except DataError:
        return None


def _is_inside(thing: Thing, size: Size) -> bool:
    x0, y0, x1, y1 = thing.box
    return x0 >= 0 and y0 >= 0 and x1 <= size[0] and y1 <= size[1]


def _no_colours(picture: Picture) -> list[str]:
    return [""] * len(picture.things)


def _colours(picture: Picture) -> list[str] | None:
    """Return the colour of each object of an image; `None` if it cannot be read."""
    import numpy as np

    try:
        pixels = np.asarray(raster.open_image(picture.path))
    except DataError:
        return None
    found = []
    for thing in picture.things:
        x0, y0, x1, y1 = map(int, thing.box)
        part = pixels[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
        found.append(nearest_colour(*part.reshape(-1, 3).mean(axis=0).tolist()))
    return found
