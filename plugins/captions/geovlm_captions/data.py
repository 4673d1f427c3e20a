"""Reads captioning sets: one JSON file and a folder of images each; no image is opened.

Karpathy's layout, a list of images: RSICD (`dataset_rsicd.json`, `RSICD_images/`), UCM-Captions and
Sydney-Captions (`dataset.json`, `imgs/` or `images/`), RSITMD (`dataset_RSITMD.json`, `images/`).
NWPU-Captions (`dataset_nwpu.json`, `NWPU_images/<class>/`) lists its images by class.

Published scores average over the references as they lie, ` .` included, so the splits `val` and
`test` hold every one of them, unchanged. The split `train` holds the tidy ones that are worth
learning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from geovlm import files
from geovlm.api import LoadContext, Sample
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm_captions import CaptionOptions
from geovlm_captions.sentences import MIN_WORDS, is_usable, tidy

_NWPU_RAW = ("raw", "raw_1", "raw_2", "raw_3", "raw_4")
"""Keys of the five sentences of an image of NWPU-Captions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Captioned:
    """One image as its file describes it; each field may be anything that JSON can hold."""

    filename: Any
    split: Any
    sentences: list[Any]
    where: str
    """The record, as a message names it."""
    folder: str = ""
    """Folder of the image below the folder of images, and `/`."""


def load_rsicd(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the images of a split of RSICD, in the order of the file.

    Target: `captions`, in the split `train` the references of at least three words without
    superfluous blanks, in the others all of them as they are in the file.

    Raises:
        DatasetNotFoundError: the JSON file or the image folder does not exist.
        DataError: the JSON file is not a captioning set; names the file.
    """
    folders = ("RSICD_images", "images", "imgs")
    return _load(ctx, name="captions/rsicd", file="dataset_rsicd.json", folders=folders)


def load_ucm(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the images of a split of UCM-Captions; as `load_rsicd`."""
    return _load(ctx, name="captions/ucm", file="dataset.json", folders=("imgs", "images"))


def load_sydney(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the images of a split of Sydney-Captions; as `load_rsicd`."""
    return _load(ctx, name="captions/sydney", file="dataset.json", folders=("imgs", "images"))


def load_rsitmd(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the images of a split of RSITMD, which has no split `val`; as `load_rsicd`."""
    folders = ("images", "RSITMD_images", "imgs")
    return _load(ctx, name="captions/rsitmd", file="dataset_RSITMD.json", folders=folders)


def load_nwpu(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the images of a split of NWPU-Captions, class by class; as `load_rsicd`."""
    folders = ("NWPU_images", "NWPU-RESISC45", "images")
    return _load(ctx, name="captions/nwpu", file="dataset_nwpu.json", folders=folders)


def official_rsicd(ctx: LoadContext) -> int:
    """Return the number of images of a split of dataset_rsicd.json: 10,921 in all.

    Source: arampacha/rsicd on the Hugging Face hub, dataset_infos.json, 820466c.
    """
    return {"train": 8_734, "val": 1_094, "test": 1_093}[ctx.split]


def official_ucm(ctx: LoadContext) -> int | None:
    """Return the number of images of the test split of UCM-Captions: 210 of 2,100.

    Source: EarthDial's published answers. `None` for the other splits, whose sizes no source gives.
    """
    return 210 if ctx.split == "test" else None


def official_rsitmd(ctx: LoadContext) -> int:
    """Return the number of images of a split of RSITMD: 4,743 in all.

    Source: xiaoyuan1996/AMFMN, AMFMN/data/rsitmd_precomp, c09bcfb.
    """
    return {"train": 4_291, "test": 452}[ctx.split]


def official_nwpu(ctx: LoadContext) -> int | None:
    """Return the number of images of the test split of NWPU-Captions: 3,150 of 31,500.

    Source: EarthDial's published answers. `None` for the other splits, whose sizes no source gives.
    """
    return 3_150 if ctx.split == "test" else None


def _load(ctx: LoadContext, *, name: str, file: str, folders: tuple[str, ...]) -> Iterator[Sample]:
    own: CaptionOptions = ctx.options or CaptionOptions()
    path = files.find(ctx.root, own.file or file)
    if not path.is_file():
        use = f"--set data.{name}.options.file=NAME"
        hint = f"put {file} there, or name another file with {use}"
        raise DatasetNotFoundError(name, path, hint=hint)
    images = next((ctx.root / each for each in folders if (ctx.root / each).is_dir()), None)
    if images is None:
        hint = f"unpack the images into {' or '.join(f'{each}/' for each in folders)}"
        raise DatasetNotFoundError(name, ctx.root / folders[0], hint=hint)
    records = _by_class(path) if name == "captions/nwpu" else _listed(path)
    return islice(_samples(ctx, records, files.Images([images])), ctx.limit)


def _listed(path: Path) -> Iterator[_Captioned]:
    """Yield the images of a file in Karpathy's form."""
    whole = files.read_json(path)
    records = whole.get("images") if isinstance(whole, dict) else None
    if not isinstance(records, list):
        raise DataError(
            f"{path} is not a captioning set: it has no list 'images'",
            hint="expected Karpathy's form: {'images': [{'filename', 'split', 'sentences'}]}",
        )
    for number, record in enumerate(records):
        known = record if isinstance(record, dict) else {}
        said = known.get("sentences")
        yield _Captioned(
            filename=known.get("filename"),
            split=known.get("split"),
            sentences=[
                each.get("raw") if isinstance(each, dict) else None
                for each in (said if isinstance(said, list) else ())
            ],
            where=f"image {number} of {path.name}",
        )


def _by_class(path: Path) -> Iterator[_Captioned]:
    """Yield the images of NWPU-Captions' file: class -> list of images with `raw`, `raw_1`, …."""
    whole = files.read_json(path)
    classes = whole if isinstance(whole, dict) else {}
    if not any(isinstance(records, list) for records in classes.values()):
        raise DataError(
            f"{path} is not the file of NWPU-Captions: it has no list of images by class",
            hint="expected {'airport': [{'filename', 'split', 'raw', 'raw_1', …}], …}",
        )
    for name, records in classes.items():
        for number, record in enumerate(records if isinstance(records, list) else [records]):
            known = record if isinstance(record, dict) else {}
            yield _Captioned(
                filename=known.get("filename"),
                split=known.get("split"),
                sentences=[known[key] for key in _NWPU_RAW if key in known],
                where=f"image {number} of class {name!r} in {path.name}",
                folder=f"{name}/",
            )


def _samples(
    ctx: LoadContext, records: Iterable[_Captioned], images: files.Images
) -> Iterator[Sample]:
    for record in records:
        filename = record.filename
        if not isinstance(filename, str) or not isinstance(record.split, str):
            # it belongs to no split: it is counted once, not in each of them
            if ctx.split == "train":
                ctx.skip("image without a name or a split", record.where)
            continue
        if record.split != ctx.split:
            continue
        captions = _captions(ctx, filename, record.sentences)
        image = images.find(f"{record.folder}{filename}")
        if image is None and record.folder:
            image = images.find(filename)  # a copy without folders of classes
        if image is None:
            ctx.skip("image missing", f"{record.folder}{filename}")
        elif not any(map(str.strip, captions)):
            ctx.skip("no usable caption", filename)
        else:
            target: dict[str, Any] = {"captions": captions}
            yield Sample(id=f"{record.folder}{filename}", images=(image,), target=target)


def _captions(ctx: LoadContext, filename: str, sentences: list[Any]) -> list[str]:
    """Return the references as they lie; for the split `train` only those worth learning, tidy."""
    kept = []
    for sentence in sentences:
        if not isinstance(sentence, str):
            ctx.skip("caption without a text", filename)
        elif ctx.split != "train":
            kept.append(sentence)
        elif not is_usable(sentence):
            ctx.skip(f"caption of fewer than {MIN_WORDS} words", f"{filename}: {sentence!r}")
        else:
            kept.append(tidy(sentence))
    return kept
