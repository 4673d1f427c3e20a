"""Writes generated images in the layout of NWPU VHR-10: airplanes, ships and storage tanks."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from geovlm import scenes
from geovlm_vhr10 import KINDS
from geovlm_vhr10.data import FOLDER, split_of
from geovlm_vhr10.objects import TEXTS

_SIZE_PX = (320, 256)


def make_sample(root: Path, n: int, seed: int) -> None:
    """Write n images per split, named so that hashing puts them there.

    Text files have the quirks of the official ones: blanks, blank lines, lines that end in CR LF.
    """
    rng = np.random.default_rng(seed)
    for folder in (FOLDER, TEXTS[0]):
        (root / folder).mkdir(parents=True, exist_ok=True)
    left = {"train": n, "val": n, "test": n}
    for number in count(1):
        name = f"{number:03d}"
        split = split_of(name, by_hash=True)
        if not any(left.values()):
            break
        if not left[split]:
            continue
        left[split] -= 1
        scene = scenes.compose(
            rng,
            size_px=_SIZE_PX,
            kinds=("airplane", "ship", "storage tank"),
            count=(2, 5),
            n_covers=(1, 2),
        )
        picture = Image.fromarray(scenes.render(scene))
        picture.save(root / FOLDER / f"{name}.jpg", quality=90)
        lines = [_line(item, blank=" " * (number % 2)) for item in scene.items]
        end = "\r\n" if number % 5 == 0 else "\n"
        text = end.join([*lines, "", ""])
        (root / TEXTS[0] / f"{name}.txt").write_bytes(text.encode())


def _line(item: scenes.Item, *, blank: str) -> str:
    x0, y0, x1, y1 = map(int, item.box)
    return f"({blank}{x0},{blank}{y0}),({x1},{y1}),{KINDS.index(item.kind) + 1} "
