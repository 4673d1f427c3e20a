"""Blind baselines, which a model that sees must beat.

`majority` needs no model: it gives the most frequent answer of the training split. `text_only`
replaces every image by mid-grey of the same size, so that the prompt keeps its tokens. `shuffled`
shows the images of another sample of the same task.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from geovlm.engine.rows.images import GREY
from geovlm.engine.rows.rows import Row, completion


def majority(train: Sequence[Row]) -> dict[str, str]:
    """Return question type -> most frequent correct answer; the type is "" where targets name none.

    Ties go to the answer that comes first. The entry "" is always there, over all types.
    """
    counts: dict[str, Counter[str]] = {}
    for row in train:
        for kind in {"", _type(row)}:
            counts.setdefault(kind, Counter())[row.answer] += 1
    return {kind: counter.most_common(1)[0][0] for kind, counter in counts.items()}


def majority_texts(rows: Sequence[Row], most_frequent: Mapping[str, str]) -> list[str]:
    """Return completions that give the most frequent answer of each row's type.

    A type that the training split lacks gets the answer that is most frequent over all.
    """
    return [
        completion(
            row,
            answer=most_frequent.get(_type(row), most_frequent[""]),
            reasoning="The most frequent answer.",
        )
        for row in rows
    ]


def text_only(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with grey in place of their images, of the same sizes."""
    return [replace(row, images=(GREY,) * len(row.images)) for row in rows]


def shuffled(rows: Sequence[Row], *, pool: Sequence[Row], seed: int) -> list[Row] | None:
    """Return the rows of one task with the images of other samples, at the rows' own sizes.

    `None` if a row has no other images to take: the data hold a single scene.
    """
    rng = random.Random(seed)
    sets = list(dict.fromkeys(row.images for row in pool))
    made = []
    for row in rows:
        others = [images for images in sets if len(images) == len(row.images)]
        if all(images == row.images for images in others):
            return None
        chosen = row.images
        while chosen == row.images:
            chosen = rng.choice(others)
        made.append(replace(row, images=chosen))
    return made


def _type(row: Row) -> str:
    return str(row.target.get("type", ""))
