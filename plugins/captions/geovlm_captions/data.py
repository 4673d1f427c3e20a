"""Reads captioning sets in Karpathy's layout: one JSON file and a folder of images.

RSICD: `dataset_rsicd.json` and `RSICD_images/`. UCM-Captions and Sydney-Captions: `dataset.json`
and `imgs/` or `images/`. Only the JSON file is opened while reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from geovlm import answers, files
from geovlm.api import LoadContext, Sample
from geovlm.errors import DataError, DatasetNotFoundError
from geovlm_captions import CaptionOptions

MIN_WORDS = 3
"""Smallest number of words of a caption; RSICD has a few shorter ones, which are degenerate."""
_BEFORE_MARK = re.compile(r"\s+([.,;!?])")


def load_rsicd(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the images of a split of RSICD, in the order of the file.

    Target: `captions`, the references that have at least three words.

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
    return islice(_samples(ctx, path, files.Images([images])), ctx.limit)


def _samples(ctx: LoadContext, path: Path, images: files.Images) -> Iterator[Sample]:
    whole = files.read_json(path)
    records = whole.get("images") if isinstance(whole, dict) else None
    if not isinstance(records, list):
        raise DataError(
            f"{path} is not a captioning set: it has no list 'images'",
            hint="expected Karpathy's form: {'images': [{'filename', 'split', 'sentences'}]}",
        )
    for number, record in enumerate(records):
        filename = record.get("filename") if isinstance(record, dict) else None
        if not isinstance(filename, str) or not isinstance(record.get("split"), str):
            # it belongs to no split: it is counted once, not in each of them
            if ctx.split == "train":
                ctx.skip("image without a name or a split", f"image {number} of {path.name}")
            continue
        if record["split"] != ctx.split:
            continue
        captions = _good(ctx, filename, record.get("sentences"))
        image = images.find(filename)
        if image is None:
            ctx.skip("image missing", filename)
        elif not captions:
            ctx.skip("no usable caption", filename)
        else:
            target: dict[str, Any] = {"captions": captions}
            yield Sample(id=filename, images=(image,), target=target)


def _good(ctx: LoadContext, filename: str, sentences: Any) -> list[str]:
    """Return the sentences with enough words, without superfluous spaces."""
    kept = []
    for said in sentences if isinstance(sentences, list) else ():
        sentence = said.get("raw") if isinstance(said, dict) else None
        if not isinstance(sentence, str):
            ctx.skip("caption without a text", filename)
        elif len(answers.words(sentence)) < MIN_WORDS:
            ctx.skip(f"caption of fewer than {MIN_WORDS} words", f"{filename}: {sentence!r}")
        else:
            kept.append(_BEFORE_MARK.sub(r"\1", " ".join(sentence.split())))
    return kept
