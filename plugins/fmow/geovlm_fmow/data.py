"""Reads fMoW-rgb: `{train,val}/<category>/<category>_<i>/<category>_<i>_<j>_rgb.{jpg,json}`.

The split test is the folder `val`, on which EarthDial evaluates; `test` and `seq` of the challenge
have names without a category and are not read. The category is that of the folder. A sample is a
place: four views, see `geovlm_fmow.views`. Only metadata are opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from geovlm import files
from geovlm.api import LoadContext, Raster, Sample
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm_fmow import VIEWS, FmowOptions
from geovlm_fmow.categories import CATEGORIES
from geovlm_fmow.views import RefusedView, View, crop, read, spread

FOLDERS = {"train": "train", "test": "val"}
"""Split -> folder."""
_COLOURS = ("red", "green", "blue")


def load(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the places of a split in the order of category and name.

    Each sample has four images, oldest first. Target: `answer`, `labels` (the one), `vocabulary`,
    `first` and `last` (times of the first and last image).

    Raises:
        DatasetNotFoundError: the folder of the split holds no category.
        DataError: metadata cannot be read, and no place is left; names the first.
    """
    return islice(_places(ctx, ctx.options or FmowOptions()), ctx.limit)


def _places(ctx: LoadContext, own: FmowOptions) -> Iterator[Sample]:
    folder = ctx.root / FOLDERS[ctx.split]
    found = {name: files.listed(folder / name) for name in CATEGORIES}
    if not any(found.values()):
        example = f"{folder.name}/airport/airport_0/airport_0_0_{own.images}.jpg"
        raise DatasetNotFoundError("fmow", folder / "airport", hint=f"expected {example} and .json")
    for name in files.listed(folder):
        if name not in found and (folder / name).is_dir():
            ctx.skip("folder that is none of the categories", name)
    unreadable: list[DataError] = []
    places = 0
    for category in sorted(found):
        for place in sorted(found[category], key=_by_number):
            chosen = _chosen(ctx, own, folder / category / place, unreadable)
            if chosen:
                places += 1
                yield _sample(chosen, f"{folder.name}/{place}", category, own)
    if unreadable and not places:
        raise DataError(
            f"no place in {folder} has {VIEWS} images whose metadata can be read; the first fault: "
            f"{unreadable[0].args[0]}",
            hint=unreadable[0].hint,
        )


def _chosen(
    ctx: LoadContext, own: FmowOptions, folder: Path, unreadable: list[DataError]
) -> list[View]:
    """Return the four views of a place, none if it has fewer; faults go to `unreadable`."""
    ending = f"_{own.images}.json"
    images = files.Images([folder])
    usable = []
    for name in files.listed(folder, ending=ending):
        image = images.find(f"{name.rpartition('.')[0]}.jpg")
        if image is None:
            ctx.skip("image missing", name)
            continue
        try:
            usable.append(read(folder / name, image))
        except DataError as error:
            ctx.skip("metadata unreadable", str(error.args[0]))
            unreadable.append(error)
        except RefusedView as refused:
            ctx.skip(str(refused), name)
    if len(usable) < VIEWS:
        if folder.is_dir():
            ctx.skip(f"place with fewer than {VIEWS} images", folder.name)
        return []
    return spread(usable)


def _sample(views: list[View], name: str, category: str, own: FmowOptions) -> Sample:
    windows = [crop(v, context=own.context, min_side_px=own.min_side_px) for v in views]
    images = (
        Raster(
            file=view.path,
            bands=_COLOURS,
            low=0,
            high=255,
            band_index={"red": 1, "green": 2, "blue": 3},
            window=window,
        )
        for view, window in zip(views, windows, strict=True)
    )
    times: dict[str, Any] = {
        "first": views[0].taken.isoformat(),
        "last": views[-1].taken.isoformat(),
    }
    return Sample(
        id=name,
        images=tuple(images),
        target=_target(category) | times,
        meta={
            "taken": [view.taken.isoformat() for view in views],
            "views": [view.path.name for view in views],
            "gsd_m": views[-1].gsd_m,
        },
        image_sizes=tuple((window[2], window[3]) for window in windows),
    )


@cache
def _target(category: str) -> dict[str, Any]:
    return {"answer": category, "labels": [category], "vocabulary": _VOCABULARY}


_VOCABULARY = list(CATEGORIES)  # one for all samples


def _by_number(place: str) -> tuple[int, str]:
    number = place.rpartition("_")[2]
    return (int(number), place) if number.isdecimal() else (0, place)
