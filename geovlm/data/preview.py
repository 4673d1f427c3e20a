"""Draws samples: the stored image with its boxes, the image that the model sees, the texts.

Boxes of the question and the correct answer are read as a model's are, and drawn over the stored
ones: a task that writes them in another frame or order than the family's shows here.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geovlm import boxes
from geovlm.api import DatasetSpec, ModelProfile, PromptContext, Sample, Size, Split, TaskSpec
from geovlm.boxes import Box
from geovlm.data.loading import load_records, task_samples
from geovlm.data.prompts import Prompt
from geovlm.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

PANEL_PX = 420
"""Longest side of a drawn image, pixels."""
_MARGIN_PX = 12
_LINE_PX = 18
_GOLD = (255, 208, 0)
_SAID = (224, 32, 32)
_MOST_CHARS = 4_000
"""Characters of a text that are drawn; a picture of a megabyte of text takes minutes."""


def samples(
    task: TaskSpec, spec: DatasetSpec, *, root: Path, split: Split, n: int, options: Any = None
) -> Sequence[Sample]:
    """Return the first `n` samples of a task, reading only as many records as needed.

    `options` are those of the data set; `None`: the default ones.

    Raises:
        DataError: the split has no sample of the task.
    """
    for limit in (4 * n, 64 * n, None):
        records = load_records(spec, root=root, split=split, limit=limit, options=options).records
        found = task_samples(task, records)[:n]
        if len(found) == n or (limit is not None and len(records) < limit):
            break
    if not found:
        raise DataError(
            f"split {split!r} of {root} has no sample of task {task.name!r}",
            hint=f"choose another split: {', '.join(spec.splits)}",
        )
    return found


def draw(prompt: Prompt, *, profile: ModelProfile) -> Image.Image:
    """Return one picture: each image as stored and as the model sees it, then the texts.

    Stored boxes are yellow; those that question and answer hold, read back, are red, on both.
    """
    from PIL import Image, ImageDraw, ImageFont

    from geovlm import raster

    rows: list[list[tuple[str, Image.Image]]] = []
    newest = len(prompt.sample.images) - 1
    gold = boxes.target_boxes(prompt.sample.target)
    said = said_boxes(prompt, profile=profile)
    for index, reference in enumerate(prompt.sample.images):
        stored = raster.open_image(reference)
        seen = stored.resize(prompt.input_sizes[index], Image.Resampling.BICUBIC)
        left, right = _fit(stored), _fit(seen)
        if index == newest:
            _outline(left, gold, of=stored.size, colour=_GOLD, width=3)
            _outline(left, said, of=stored.size, colour=_SAID, width=1)
            _outline(right, said, of=stored.size, colour=_SAID, width=1)
        number = f"image {index + 1} of {newest + 1}, " if newest else ""
        rows.append(
            [
                (f"{number}stored {_by(stored.size)}", left),
                (f"as {profile.name} sees it, {_by(seen.size)}", right),
            ]
        )
    width = 2 * PANEL_PX + 3 * _MARGIN_PX
    words = _words(prompt, said, columns=width // 8)
    height = _MARGIN_PX + sum(
        max(panel.height for _, panel in row) + _LINE_PX + _MARGIN_PX for row in rows
    )
    sheet = Image.new("RGB", (width, height + _LINE_PX * len(words) + _MARGIN_PX), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    y = _MARGIN_PX
    for row in rows:
        for column, (caption, panel) in enumerate(row):
            x = _MARGIN_PX + column * (PANEL_PX + _MARGIN_PX)
            pen.text((x, y), caption, fill="black", font=font)
            sheet.paste(panel, (x, y + _LINE_PX))
        y += max(panel.height for _, panel in row) + _LINE_PX + _MARGIN_PX
    for line in words:
        pen.text((_MARGIN_PX, y), line, fill="black", font=font)
        y += _LINE_PX
    return sheet


def said_boxes(prompt: Prompt, *, profile: ModelProfile) -> tuple[Box, ...]:
    """Return the boxes that question and correct answer hold, in pixels of the stored last image.

    None if the frame of the family is not known: no task can have written one.
    """
    if profile.box_frame is None:
        return ()
    context = PromptContext(
        profile=profile, image_sizes=prompt.image_sizes, input_sizes=prompt.input_sizes
    )
    turn = prompt.turn
    return boxes.parse(turn.question, context) + boxes.parse(turn.answer, context)


def _outline(
    panel: Image.Image,
    drawn: Sequence[Box],
    *,
    of: Size,
    colour: tuple[int, int, int],
    width: int,
) -> None:
    """Draw boxes of an image of size `of` on a panel that shows it."""
    from PIL import ImageDraw

    pen = ImageDraw.Draw(panel)
    x_scale, y_scale = panel.width / of[0], panel.height / of[1]
    for box in drawn:
        outline = [(x * x_scale, y * y_scale) for x, y in boxes.corners(box)]
        pen.line([*outline, outline[0]], fill=colour, width=width)


def _fit(image: Image.Image) -> Image.Image:
    """Return the image with its longer side at `PANEL_PX`."""
    from PIL import Image

    scale = PANEL_PX / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
    return image.resize(size, method)


def _words(prompt: Prompt, said: Sequence[Box], *, columns: int) -> list[str]:
    parts: list[tuple[str, Any]] = [
        ("id", prompt.sample.id),
        ("question", prompt.turn.question),
        *([("reasoning", prompt.turn.reasoning)] if prompt.thinks else []),
        ("answer", prompt.turn.answer),
        *([("red boxes, read from the texts", _agreement(prompt, said))] if said else []),
    ]
    return [
        line
        for name, text in parts
        for line in textwrap.wrap(f"{name}: {_cut(text)}", columns, subsequent_indent="    ")
    ]


def _agreement(prompt: Prompt, said: Sequence[Box]) -> str:
    """Return how well the boxes of the texts lie on the stored ones."""
    stored = boxes.target_boxes(prompt.sample.target)
    best = [max((boxes.overlap(box, each) for each in stored), default=0.0) for box in said]
    return f"IoU with the nearest stored box {min(best):.2f} to {max(best):.2f}"


def _cut(text: str) -> str:
    more = len(text) - _MOST_CHARS
    return text if more <= 0 else f"{text[:_MOST_CHARS]} … and {more:,} characters more"


def _by(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
