"""Makes one record of neighbouring rows that describe one image."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from geovlm.plugins.annotations.records import Record


def merged(found: Iterator[Record]) -> Iterator[Record]:
    """Yield the records, neighbours of the same images and question as one."""
    for _, several in itertools.groupby(found, key=lambda each: (each.images, each.question)):
        first, *others = several
        if not others:
            yield first
            continue
        boxes = [each.boxes for each in (first, *others) if each.boxes is not None]
        yield first._replace(
            captions=tuple(text for each in (first, *others) for text in each.captions),
            boxes=tuple(box for each in boxes for box in each) if boxes else None,
        )
