"""Reads EuroSAT RGB as its zip unpacks: `2750/<Class>/<Class>_<n>.jpg`, 64 px.

EuroSAT has no official split. Here a tile's split follows from its name alone: SHA-256 of
`<Class>_<n>` modulo 10 is 0 for test, 1 for val, else train. Scores compare only with others on
this split; `geovlm eurosat-split` prints it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from itertools import count, islice
from pathlib import Path

import numpy as np
from PIL import Image

from geovlm import files
from geovlm.api import Json, LoadContext, PromptContext, Sample, Turn
from geovlm.errors import DatasetNotFoundError
from geovlm_eurosat.classes import FOLDERS, GROUP, LABELS

_VOCABULARY = [LABELS[folder] for folder in FOLDERS]


def split_of(stem: str) -> str:
    """Return the split of a tile by its name without the suffix."""
    rest = int(sha256(stem.encode()).hexdigest(), 16) % 10
    return {0: "test", 1: "val"}.get(rest, "train")


def tiles(root: Path) -> Iterator[Path]:
    """Yield all tiles, class by class; `root` is the folder `2750` or the one that holds it.

    Raises:
        DatasetNotFoundError: none of the ten class folders is there.
    """
    folder = root / "2750" if (root / "2750").is_dir() else root
    if not any((folder / name).is_dir() for name in FOLDERS):
        raise DatasetNotFoundError("eurosat", folder / FOLDERS[0], hint="unpack EuroSAT.zip there")
    listed = ((name, files.listed(folder / name, ending=".jpg")) for name in FOLDERS)
    return (folder / name / tile for name, held in listed for tile in held)


def load(ctx: LoadContext) -> Iterator[Sample]:
    """Yield the tiles of a split; errors as for `tiles`."""
    mine = (path for path in tiles(ctx.root) if split_of(path.stem) == ctx.split)
    return islice(map(_sample, mine), ctx.limit)


def _sample(path: Path) -> Sample:
    label = LABELS[path.parent.name]
    target = {"answer": label, "labels": [label], "vocabulary": list(_VOCABULARY)}
    return Sample(id=path.stem, images=(path,), target=target, meta={"gsd_m": 10})


def prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask for one class of the ten; the reasoning names its group."""
    label = str(sample.target["answer"])
    question = f"Which land use does the tile show? One of: {', '.join(_VOCABULARY)}."
    return Turn(question=question, answer=label, reasoning=f"The tile shows {GROUP[label]}.")


def blank(said: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a target of any class, from which `geovlm predict` writes the question."""
    return {"answer": _VOCABULARY[0], "labels": [_VOCABULARY[0]], "vocabulary": list(_VOCABULARY)}


def make_sample(root: Path, n: int, seed: int) -> None:
    """Write n generated tiles per split: one colour per class, with noise."""
    rng = np.random.default_rng(seed)
    for split in ("train", "val", "test"):
        names = {name: _stems(name, split) for name in FOLDERS}
        for name in islice(FOLDERS * (n // len(FOLDERS) + 1), n):
            folder = root / "2750" / name
            folder.mkdir(parents=True, exist_ok=True)
            colour = np.frombuffer(sha256(name.encode()).digest()[:3], np.uint8)
            tile = np.clip(colour + rng.integers(-20, 21, (64, 64, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(tile).save(folder / f"{next(names[name])}.jpg")


def _stems(name: str, split: str) -> Iterator[str]:
    return (stem for stem in (f"{name}_{i}" for i in count(1)) if split_of(stem) == split)
