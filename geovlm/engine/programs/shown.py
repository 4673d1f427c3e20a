"""Shows one row per task as the model gets it, for `geovlm doctor --model`."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from geovlm import answers, boxes
from geovlm.boxes import Box
from geovlm.data.prompts import visual_tokens
from geovlm.engine.programs.agreement import Reader, Seen
from geovlm.engine.programs.preflight import Found
from geovlm.predict import overlay
from geovlm.predict.windows.tiles import Window
from geovlm.raster import reference

ANOTHER = 3
"""Runs of one token of at least this length are written as its text and their length."""


def table(found: Found, *, pictures: Path | None) -> dict[str, Any]:
    """Return what there is to know of the rows as JSON; `pictures` is a folder for their images."""
    profile = found.seen[0].profile
    reader = found.reader
    return {
        "model_type": found.model_type,
        "profile": profile.name,
        "box_frame": profile.box_frame,
        "box_order": profile.box_order,
        "resize": profile.resize,
        "size_factor": profile.size_factor,
        "min_pixels": profile.min_pixels,
        "max_pixels": profile.max_pixels,
        "ends": [reader.shown([each]) for each in reader.stops],
        "rows": [_row(each, reader, pictures=pictures) for each in found.seen],
    }


def _row(seen: Seen, reader: Reader, *, pictures: Path | None) -> dict[str, Any]:
    row, target = seen.row, seen.target or ()
    completion = reader.completion(target) if target else ""
    written = reader.processor.tokenizer.decode(reader.written(target), skip_special_tokens=True)
    sizes = seen.images.sizes or row.input_sizes
    placed = boxes.parse(answers.answer_text(completion), seen.context) if _has_boxes(seen) else ()
    return {
        "task": row.task,
        "sample": row.sample_id,
        "images": [
            {
                "stored": list(stored),
                "given": list(given),
                "seen": list(size),
                "tokens": visual_tokens([given], profile=seen.profile),
            }
            for stored, given, size in zip(row.image_sizes, row.picture_sizes, sizes, strict=True)
        ],
        "tokens": {
            "prompt": len(seen.alone.ids),
            "images": seen.alone.ids.count(seen.images.token) if seen.images.token else 0,
            "target": len(target),
        },
        "prompt": compact(seen.alone.ids, reader),
        "prefill": completion.removesuffix(written),
        "target": compact(target, reader),
        "boxes": [[round(n, 1) for n in (each if each.angle_deg else each[:4])] for each in placed],
        "picture": str(_draw(seen, placed, pictures)) if pictures is not None else None,
    }


def compact(ids: Any, reader: Reader) -> str:
    """Return the text of ids, in which a token that repeats is written once, with its number."""
    parts = []
    for token, run in itertools.groupby(ids):
        n = len(list(run))
        parts.append([token] * n if n < ANOTHER else (token, n))
    text, plain = "", []
    for part in parts:
        if isinstance(part, list):
            plain += part
            continue
        text += reader.shown(plain) + f"{reader.shown([part[0]])} x {part[1]}"
        plain = []
    return text + reader.shown(plain)


def _has_boxes(seen: Seen) -> bool:
    return seen.profile.box_frame is not None and bool(boxes.target_boxes(seen.row.target))


def _draw(seen: Seen, placed: tuple[Box, ...], folder: Path) -> Path:
    """Draw the boxes of the target on the stored last image, and return the file."""
    import json

    row = seen.row
    width, height = row.image_sizes[-1]
    images = [reference.decode(json.loads(each)) for each in row.images]
    shapes = (([*boxes.corners(box)], str(n)) for n, box in enumerate(placed, start=1))
    path = folder / f"{row.task.replace('/', '__')}.png"
    folder.mkdir(parents=True, exist_ok=True)
    overlay.draw(images, Window(0, 0, width, height), shapes).save(path)
    return path
