"""Reads BigEarthNet, version 1 or 2.

v2: `metadata.parquet` next to `BigEarthNet-S2/<tile>/<patch>/<patch>_B02.tif`.
v1: `BigEarthNet-v1.0/<patch>/<patch>_B02.tif` and `<patch>_labels_metadata.json`, with
`{train,val,test}.csv` (no header, the Sentinel-2 name first) next to `BigEarthNet-v1.0`. The
data set's folder may also be `BigEarthNet-v1.0` itself, with the split files in it or next to it.

Images are references to the twelve bands, of which a view shows three; only v1's label files are
opened while reading. Sentinel-1 is not read.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from geovlm import files
from geovlm.api import Json, LoadContext, Raster, Sample, Split
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm_bigearthnet import BigEarthNetOptions
from geovlm_bigearthnet.classes import CLASSES_19, CLASSES_43, TO_19
from geovlm_bigearthnet.views import SIDES_PX, composites, files_of, sizes_of

_SPLITS: tuple[Split, ...] = ("train", "val", "test")
_VOCABULARIES = {19: list(CLASSES_19), 43: list(CLASSES_43)}
_META: dict[str, Json] = {"sensor": "Sentinel-2", "gsd_m": 10, "licence": "CDLA-Permissive-1.0"}
_JOIN = "|"  # in no name of a class
_NULL = "null"  # not the name of a class either
_WORDS = {"train": ["train"], "val": ["validation", "val"], "test": ["test"]}
_SHARES = (0.70, 0.15, 0.15)
_PATCH = re.compile(r"S2[A-C]_MSIL2A_\w+")
_USE_HASH = "--set data.bigearthnet.options.split_by=hash"
_METADATA = "metadata.parquet"
_PATCHES_TRIED = 16
_BANDS = tuple(sorted(SIDES_PX))
_NO_NUMBERS: Mapping[str, int] = {}  # one for all samples
_FLAGS = ("contains_seasonal_snow", "contains_cloud_or_shadow")
_FLAG_FILES = ("patches_with_seasonal_snow.csv", "patches_with_cloud_and_shadow.csv")


@dataclass(frozen=True, slots=True)
class BandFiles(Mapping[str, Path]):
    """Band -> file of one patch; paths are made on access, since half a million patches have six
    million of them.
    """

    folder: str
    """Folder that holds the folders of patches, or those of their tiles."""
    patch: str
    in_tile: bool
    """True if the patch lies in the folder of its tile, as in v2."""
    ending: str = ".tif"

    @property
    def stem(self) -> str:
        """Path of the files without `_<band>.tif`."""
        tile = f"/{self.patch.rsplit('_', 2)[0]}" if self.in_tile else ""
        return f"{self.folder}{tile}/{self.patch}/{self.patch}"

    def __getitem__(self, band: str) -> Path:
        if band not in SIDES_PX:
            raise KeyError(band)
        return Path(f"{self.stem}_{band}{self.ending}")

    def __iter__(self) -> Iterator[str]:
        return iter(_BANDS)

    def __len__(self) -> int:
        return len(_BANDS)


def load(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the patches of a split: v1 in the order of the csv (or by name), v2 of the parquet.

    Target: `labels` and `vocabulary`, both in the order of CORINE codes.

    Raises:
        DatasetNotFoundError: the folder holds neither version, or v1 has no split files.
        DataError: a file does not have the form of BigEarthNet; names the file.
    """
    own: BigEarthNetOptions = ctx.options or BigEarthNetOptions()
    if files.find(ctx.root, _METADATA).exists():
        return islice(_load_v2(ctx, own), ctx.limit)
    inner = ctx.root / "BigEarthNet-v1.0"
    for folder in (inner, inner / inner.name, ctx.root):
        names = _patches(folder)
        if names:
            return islice(_load_v1(ctx, own, folder, names), ctx.limit)
    raise DatasetNotFoundError(
        "bigearthnet",
        ctx.root / _METADATA,
        hint="v2 has it next to BigEarthNet-S2/, v1 has BigEarthNet-v1.0/<patch>/ instead",
    )


def official(ctx: LoadContext) -> int | None:
    """Return the number of patches of a split; `None` if the split is made by hash.

    Source: for v2 `metadata.parquet` (md5 55687065e77b6d0b0f1ff604a6e7b49c), for v1 the lists of
    kai-tub/bigearthnet_common.
    """
    if files.find(ctx.root, _METADATA).exists():
        return {"train": 237_871, "val": 122_342, "test": 119_825}[ctx.split]
    if ctx.options.split_by == "hash":
        return None
    return {"train": 269_695, "val": 123_723, "test": 125_866}[ctx.split]


# -- version 2 ------------------------------------------------------------------------------------


def _load_v2(ctx: LoadContext, own: BigEarthNetOptions) -> Iterator[Sample]:
    if own.classes == 43:
        raise DataError(
            f"{ctx.root} is BigEarthNet v2, which has 19 classes only",
            hint="--set data.bigearthnet.options.classes=19",
        )
    names, labels_of = _metadata(ctx, own, files.find(ctx.root, _METADATA))
    folder = ctx.root / "BigEarthNet-S2"
    if names and not folder.is_dir():
        raise DatasetNotFoundError("bigearthnet", folder, hint="unpack BigEarthNet-S2 next to it")
    if (folder / folder.name).is_dir():
        folder = folder / folder.name
    where, make = str(folder), _maker(ctx, own)
    ending = _ending(BandFiles(where, name, True) for name in names)
    for name, joined in zip(names, labels_of, strict=True):
        if not _PATCH.fullmatch(name):
            ctx.skip("not a name of a patch", name)
            continue
        sample = make(BandFiles(where, name, True, ending), joined)
        if sample is not None:
            yield sample


def _metadata(ctx: LoadContext, own: BigEarthNetOptions, path: Path) -> tuple[list[str], list[str]]:
    """Return names and joined labels of a split; only columns needed are decoded, and few rows at
    once. Equal labels are one string.
    """
    words = pa.array(_WORDS[ctx.split])
    names: list[str] = []
    labels: list[str] = []
    known: dict[str, str] = {}
    flags = _FLAGS if own.drop_snow_cloud else ()
    for batch in files.table_batches(
        path,
        columns={"patch_id": "text", "labels": "texts", "split": "text"},
        optional=dict.fromkeys(flags, "flag"),
    ):
        if ctx.split == "train":  # a row without a split is counted once
            for name in batch.filter(batch["split"].is_null())["patch_id"].to_pylist():
                ctx.skip("row without a split", str(name))
        part = batch.filter(pc.is_in(batch["split"], words))
        for flag in (each for each in flags if each in batch.schema.names):
            marked = pc.fill_null(part[flag], False)
            for name in part.filter(marked)["patch_id"].to_pylist():
                ctx.skip(flag.replace("_", " "), str(name))
            part = part.filter(pc.invert(marked))
        # the join of a list with a null in it is null, like that of no list
        absent = pc.if_else(part["labels"].is_valid(), _NULL, "")
        joined = pc.coalesce(pc.binary_join(part["labels"], _JOIN), absent).to_pylist()
        names += pc.fill_null(part["patch_id"], "").to_pylist()
        labels += [known.setdefault(each, each) for each in joined]
    pa.default_memory_pool().release_unused()
    return names, labels


# -- version 1 ------------------------------------------------------------------------------------


def _load_v1(
    ctx: LoadContext, own: BigEarthNetOptions, folder: Path, names: frozenset[str]
) -> Iterator[Sample]:
    beside = _lists_folder(ctx, own, folder)
    if own.split_by == "hash":
        listed = _by_hash(names)[ctx.split]
    else:
        listed = _by_csv(ctx, files.find(beside, f"{ctx.split}.csv"), names)
    flagged = {
        name: path.stem.replace("_", " ")
        for path in (files.find(beside, file) for file in _FLAG_FILES)
        if own.drop_snow_cloud and path.is_file()
        for name in _names(path)
    }
    make = _maker(ctx, own)
    ending = _ending(BandFiles(str(folder), name, False) for name in listed if name in names)
    unreadable: list[DataError] = []
    for name in listed:
        if name in flagged:
            ctx.skip(flagged[name], name)
            continue
        if name not in names:
            ctx.skip("patch missing", name)
            continue
        found = BandFiles(str(folder), name, False, ending)
        try:
            labels = _labels_v1(Path(f"{found.stem}_labels_metadata.json"), own=own)
        except DatasetNotFoundError as error:
            ctx.skip("label file missing", error.path.name)
            continue
        except DataError as error:
            ctx.skip("label file unreadable", str(error.args[0]))
            unreadable.append(error)
            continue
        sample = make(found, _JOIN.join(labels))
        if sample is not None:
            yield sample
    if unreadable and len(unreadable) == len(listed):
        raise DataError(
            f"none of the {len(listed)} label files can be read; the first: "
            f"{unreadable[0].args[0]}",
            hint=unreadable[0].hint,
        )


def _labels_v1(path: Path, *, own: BigEarthNetOptions) -> list[str]:
    """Return the labels in a label file, of 19 or 43 classes.

    Raises:
        DatasetNotFoundError: there is no such file.
        DataError: it cannot be read, or names another class; names file and reason.
    """
    if not path.is_file():
        path = files.find(path.parent, path.name)
    if not path.is_file():
        raise DatasetNotFoundError("bigearthnet", path)
    record = files.read_json(path)
    labels = record.get("labels") if isinstance(record, dict) else None
    if not isinstance(labels, list):
        raise DataError(f"{path} has no list 'labels'", hint="unpack the patch again")
    unknown = [label for label in labels if label not in TO_19]
    if unknown:
        raise DataError(
            f"{path} names {unknown[0]!r}, which is not one of the 43 classes",
            hint="labels of version 1 are names of CORINE, level 3",
        )
    if own.classes == 43:
        return list(labels)
    return [new for label in labels if (new := TO_19[label]) is not None]


def _patches(folder: Path) -> frozenset[str]:
    """Return the patches in a folder by one listing; their own folders are not opened."""
    if not folder.is_dir():
        return frozenset()
    with os.scandir(folder) as entries:
        return frozenset(e.name for e in entries if _PATCH.fullmatch(e.name) and e.is_dir())


def _lists_folder(ctx: LoadContext, own: BigEarthNetOptions, folder: Path) -> Path:
    """Return the folders in which split files are searched."""
    if own.splits:
        return folder.parent / own.splits
    here = files.find(ctx.root, f"{ctx.split}.csv").is_file()
    return ctx.root if here else folder.parent


def _by_csv(ctx: LoadContext, path: Path, names: frozenset[str]) -> list[str]:
    if not path.is_file():
        raise DatasetNotFoundError(
            "bigearthnet", path, hint=f"put the official split files there, or use {_USE_HASH}"
        )
    listed = list(_names(path, skip=ctx.skip))
    if names.isdisjoint(listed):
        raise DataError(
            f"{path} names none of the {len(names)} patches on disk", hint=f"use {_USE_HASH}"
        )
    return listed


def _names(path: Path, *, skip: Callable[[str, str], None] | None = None) -> Iterator[str]:
    """Yield the Sentinel-2 patch that each line names first; the first line may be a header."""
    for number, row in enumerate(files.csv_rows(path)):
        patches = (field.strip("/\\") for field in row)
        name = next((each for each in patches if _PATCH.fullmatch(each)), None)
        if name is not None:
            yield name
        elif number and skip is not None:
            skip("line without a name of a patch", f"{path.name}: {row[0]}")


def _ending(patches: Iterable[BandFiles]) -> str:
    """Return the ending of the files of bands, in the capitals of the first patch on disk."""
    for patch in islice(patches, _PATCHES_TRIED):
        names = files.listed(Path(patch.stem).parent, ending=f"{patch.patch}_B02.tif")
        if names:
            return Path(names[0]).suffix
    return ".tif"


def _by_hash(names: Iterable[str]) -> dict[Split, list[str]]:
    """Cut the patches, sorted by SHA-256 of the name, 70/15/15 by largest remainder.

    With three patches or more no split is empty: the largest gives one up. Each split is
    sorted by name.
    """
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    exact = [share * len(order) for share in _SHARES]
    sizes = [int(value) for value in exact]
    by_remainder = sorted(range(3), key=lambda i: (sizes[i] - exact[i], i))
    for i in by_remainder[: len(order) - sum(sizes)]:
        sizes[i] += 1
    while len(order) >= 3 and 0 in sizes:
        sizes[sizes.index(max(sizes))] -= 1
        sizes[sizes.index(0)] += 1
    ends = (sizes[0], sizes[0] + sizes[1], len(order))
    starts = (0, *ends[:2])
    cut = zip(_SPLITS, starts, ends, strict=True)
    return {split: sorted(order[start:end]) for split, start, end in cut}


# -- both -----------------------------------------------------------------------------------------


def _maker(ctx: LoadContext, own: BigEarthNetOptions) -> Callable[[BandFiles, str], Sample | None]:
    """Return a function that makes the sample of a patch, or reports why there is none."""
    shown = composites(own.views, bands=own.bands)
    needed, sizes = files_of(shown), sizes_of(shown)
    low, high = own.low, own.high
    looks = [(each.bands, each.ranges) for each in shown]

    def make(patch: BandFiles, joined: str) -> Sample | None:
        name = patch.patch
        if not joined:
            ctx.skip(f"none of the {own.classes} classes", name)
            return None
        try:
            target = _target(joined, own.classes)
        except KeyError as error:
            ctx.skip(f"label that is not one of the {own.classes} classes", f"{name}: {error}")
            return None
        if own.check_files and not all(patch[band].is_file() for band in needed):
            ctx.skip("band file missing", name)
            return None
        images = [
            Raster(
                files=patch,
                bands=bands,
                low=low,
                high=high,
                band_index=_NO_NUMBERS,
                ranges=ranges,
                reflectance=10_000.0,
            )
            for bands, ranges in looks
        ]
        return Sample(id=name, images=tuple(images), target=target, meta=_META, image_sizes=sizes)

    return make


@cache
def _target(joined: str, classes: int) -> dict[str, Any]:
    """Return the target of a set of labels; samples with equal labels share it."""
    vocabulary = _VOCABULARIES[classes]
    named = dict.fromkeys(joined.split(_JOIN))
    ranks = {label: rank for rank, label in enumerate(vocabulary)}
    return {"labels": sorted(named, key=ranks.__getitem__), "vocabulary": vocabulary}
