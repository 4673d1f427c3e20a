"""Questions about one and two generated images, for every way that answers them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from geovlm.engine.rows.rows import Row
from geovlm.files.jsontext import dumps
from geovlm.raster import reference

QUESTIONS = (
    "How many buildings are destroyed?",
    "Is there water?",
    "What has changed between these two images?",
)


def mixed(folder: Path, *, number: int) -> list[Row]:
    """Return rows of one image and of two, in turns; their sizes differ."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(number):
        sizes = ((84, 84),) if i % 2 else ((126, 56), (84, 84))  # 7,056 px: nano resizes none
        paths = [folder / f"{i}-{j}.png" for j in range(len(sizes))]
        for path, (width, height) in zip(paths, sizes, strict=True):
            coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(path)
        made.append(
            Row(
                task="rsvqa",
                sample_id=str(i),
                images=tuple(dumps(reference.encode(path)) for path in paths),
                question=QUESTIONS[i % len(QUESTIONS)],
                reasoning="It is in plain sight.",
                answer="yes",
                target={"answer": "yes"},
                image_sizes=sizes,
                input_sizes=sizes,
            )
        )
    return made
