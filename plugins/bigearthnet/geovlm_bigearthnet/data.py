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
import json
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
import pyarrow.parquet as pq
from pyarrow import ArrowException

from geovlm.api import Json, LoadContext, Raster, Sample, Split
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm_bigearthnet import BigEarthNetOptions
from geovlm_bigearthnet.classes import CLASSES_19, CLASSES_43, TO_19
from geovlm_bigearthnet.views import SIDES_PX, composites, files_of, sizes_of

_SPLITS: tuple[Split, ...] = ("train", "val", "test")
_VOCABULARIES = {19: list(CLASSES_19), 43: list(CLASSES_43)}
_META: dict[str, Json] = {"sensor": "Sentinel-2", "gsd_m": 10, "licence": "CDLA-Permissive-1.0"}
_JOIN = "|"  # in no name of a class
_ROWS_AT_ONCE = 16_384
_SHARES = (0.70, 0.15, 0.15)
_PATCH = re.compile(r"S2[A-C]_MSIL2A_\w+")
_USE_HASH = "--set data.bigearthnet.options.split_by=hash (data check: --option split_by=hash)"
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

    @property
    def stem(self) -> str:
        """Path of the files without `_<band>.tif`."""
        tile = f"/{self.patch.rsplit('_', 2)[0]}" if self.in_tile else ""
        return f"{self.folder}{tile}/{self.patch}/{self.patch}"

    def __getitem__(self, band: str) -> Path:
        if band not in SIDES_PX:
            raise KeyError(band)
        return Path(f"{self.stem}_{band}.tif")

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
    if (ctx.root / "metadata.parquet").is_file():
        return islice(_load_v2(ctx, own), ctx.limit)
    for folder in (ctx.root / "BigEarthNet-v1.0", ctx.root):
        names = _patches(folder)
        if names:
            return islice(_load_v1(ctx, own, folder, names), ctx.limit)
    raise DatasetNotFoundError(
        "bigearthnet",
        ctx.root / "metadata.parquet",
        hint="v2 has it next to BigEarthNet-S2/, v1 has BigEarthNet-v1.0/<patch>/ instead",
    )


def official(ctx: LoadContext) -> int | None:
    """Return the number of patches of a split; `None` if the split is made by hash.

    Source: for v2 `metadata.parquet` (md5 55687065e77b6d0b0f1ff604a6e7b49c), for v1 the lists of
    kai-tub/bigearthnet_common.
    """
    if (ctx.root / "metadata.parquet").is_file():
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
    path = ctx.root / "metadata.parquet"
    names, labels_of = _metadata(ctx, own, path)
    folder = ctx.root / "BigEarthNet-S2"
    if names and not folder.is_dir():
        raise DatasetNotFoundError("bigearthnet", folder, hint="unpack BigEarthNet-S2 next to it")
    where, make = str(folder), _maker(ctx, own)
    for name, joined in zip(names, labels_of, strict=True):
        if not _PATCH.fullmatch(name):
            ctx.skip("not a name of a patch", name)
            continue
        sample = make(BandFiles(where, name, True), joined)
        if sample is not None:
            yield sample


def _metadata(ctx: LoadContext, own: BigEarthNetOptions, path: Path) -> tuple[list[str], list[str]]:
    """Return names and joined labels of a split; only columns needed are decoded, and few rows at
    once. Equal labels are one string.
    """
    word = "validation" if ctx.split == "val" else ctx.split
    names: list[str] = []
    labels: list[str] = []
    known: dict[str, str] = {}
    try:
        with pq.ParquetFile(path) as file:
            there = set(file.schema_arrow.names)
            flags = [flag for flag in _FLAGS if flag in there and own.drop_snow_cloud]
            columns = ["patch_id", "labels", "split", *flags]
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=columns):
                part = batch.filter(pc.equal(batch["split"], word))
                for flag in flags:
                    marked = pc.fill_null(part[flag], False)
                    for name in part.filter(marked)["patch_id"].to_pylist():
                        ctx.skip(flag.replace("_", " "), name)
                    part = part.filter(pc.invert(marked))
                joined = pc.fill_null(pc.binary_join(part["labels"], _JOIN), "").to_pylist()
                names += part["patch_id"].to_pylist()
                labels += [known.setdefault(each, each) for each in joined]
    except (ArrowException, OSError, KeyError) as error:
        raise DataError(f"{path} is not the metadata of BigEarthNet v2: {error}") from error
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
        listed = _by_csv(beside / f"{ctx.split}.csv", names)
    flagged = {
        name: path.stem.replace("_", " ")
        for path in (beside / file for file in _FLAG_FILES)
        if own.drop_snow_cloud and path.is_file()
        for name in _first_column(path)
    }
    make = _maker(ctx, own)
    for name in listed:
        if name in flagged:
            ctx.skip(flagged[name], name)
        elif name not in names:
            ctx.skip("patch missing", name)
        else:
            files = BandFiles(str(folder), name, False)
            labels = _labels_v1(Path(f"{files.stem}_labels_metadata.json"), ctx=ctx, own=own)
            if labels is None:
                continue
            sample = make(files, _JOIN.join(labels))
            if sample is not None:
                yield sample


def _labels_v1(path: Path, *, ctx: LoadContext, own: BigEarthNetOptions) -> list[str] | None:
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
    except FileNotFoundError:
        ctx.skip("label file missing", path.name)
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is not a label file of BigEarthNet: {error!r}") from error
    if own.classes == 43:
        return list(labels)
    unknown = [label for label in labels if label not in TO_19]
    if unknown:
        raise DataError(f"{path} names {unknown[0]!r}, which is not one of the 43 classes")
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
    return ctx.root if (ctx.root / f"{ctx.split}.csv").is_file() else folder.parent


def _by_csv(path: Path, names: frozenset[str]) -> list[str]:
    if not path.is_file():
        raise DatasetNotFoundError(
            "bigearthnet", path, hint=f"put the official split files there, or use {_USE_HASH}"
        )
    listed = _first_column(path)
    if listed and names.isdisjoint(listed):
        raise DataError(
            f"{path} names none of the {len(names)} patches on disk", hint=f"use {_USE_HASH}"
        )
    return listed


def _first_column(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").split("\n")
    return [name for line in lines if (name := line.split(",", 1)[0].strip())]


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

    def make(files: BandFiles, joined: str) -> Sample | None:
        name = files.patch
        if not joined:
            ctx.skip(f"none of the {own.classes} classes", name)
            return None
        try:
            target = _target(joined, own.classes)
        except KeyError as error:
            raise DataError(
                f"patch {name} in {ctx.root} has label {error}, not one of the {own.classes} "
                "classes"
            ) from error
        if own.check_files and not all(files[band].is_file() for band in needed):
            ctx.skip("band file missing", name)
            return None
        images = [
            Raster(
                files=files,
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
