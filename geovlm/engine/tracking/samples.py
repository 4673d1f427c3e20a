"""Draws samples of the last evaluation for trackers, with boxes, question, answer and truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from PIL import Image, ImageDraw

from geovlm import answers, boxes, raster
from geovlm.errors import DataError
from geovlm.raster.reference import decode
from geovlm.report import cards
from geovlm.run.files import JsonLines
from geovlm.run.folder import RunDir

PICTURES = 8
_SIDE_PX = 320
"""Longest side of a drawn image."""
_GAP_PX = 8
_TRUTH, _PREDICTED = (0, 170, 70), (224, 40, 40)
_LETTERS = 600
"""Letters of a text that a caption holds."""


class Picture(NamedTuple):
    """One sample."""

    name: str
    """`1`, `2`, …"""
    image: Image.Image
    caption: str


def pictures(run: RunDir, tasks: Sequence[str], stage: str) -> list[Picture]:
    """Return samples of an evaluation, in turns over the tasks, spread over each task's samples.

    Samples whose images are gone are left out.
    """
    config = run.read_resolved()["config"]
    instructions = [config["instruction"], config.get("answer_instruction", "")]
    share = -(-PICTURES // max(1, len(tasks)))
    parts = [_spread(JsonLines(run.eval_file(task, stage)).read(), n=share) for task in tasks]
    found: list[Picture] = []
    for record in _in_turns(parts):
        image = _draw(record)
        if image is not None and len(found) < PICTURES:
            found.append(Picture(str(len(found) + 1), image, caption(record, instructions)))
    return found


def caption(record: Mapping[str, Any], instructions: Sequence[str]) -> str:
    """Return the texts of a sample, one per line; the question without the run's instructions."""
    completion, question = record["completion"], record["question"]
    for each in instructions:
        question = question.removesuffix(each).rstrip()
    said = answers.answer_text(completion) or f"no answer: {completion}"
    lines = [
        f"{record['task']} {record['sample_id']}",
        f"question: {question}",
        f"answer: {said}",
        f"truth: {record['answer']}",
    ]
    return "\n".join(each if len(each) <= _LETTERS else f"{each[:_LETTERS]} …" for each in lines)


def _spread(records: Sequence[Mapping[str, Any]], *, n: int) -> list[Mapping[str, Any]]:
    n = min(n, len(records))
    return [records[i * len(records) // n] for i in range(n)]


def _in_turns(parts: Sequence[Sequence[Mapping[str, Any]]]) -> Iterator[Mapping[str, Any]]:
    for i in range(max(map(len, parts), default=0)):
        yield from (part[i] for part in parts if i < len(part))


def _draw(record: Mapping[str, Any]) -> Image.Image | None:
    """Return the sample's images side by side, boxes on the last: true green, predicted red."""
    try:
        stored = [raster.open_image(decode(each)) for each in record["images"]]
    except DataError:
        return None
    panels = [_fit(each) for each in stored]
    pen = ImageDraw.Draw(panels[-1])
    scale = panels[-1].width / stored[-1].width, panels[-1].height / stored[-1].height
    truth = boxes.target_boxes(record["target"])
    for found, colour in ((truth, _TRUTH), (cards.predicted(record), _PREDICTED)):
        for box in found:
            outline = [(x * scale[0], y * scale[1]) for x, y in boxes.corners(box)]
            pen.line([*outline, outline[0]], fill=colour, width=2)
    width = sum(each.width for each in panels) + _GAP_PX * (len(panels) - 1)
    sheet = Image.new("RGB", (width, max(each.height for each in panels)), "white")
    x = 0
    for panel in panels:
        sheet.paste(panel, (x, 0))
        x += panel.width + _GAP_PX
    return sheet


def _fit(image: Image.Image) -> Image.Image:
    scale = _SIDE_PX / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
