"""Draws the figures of a report: curves as SVG, images with boxes as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from geovlm import raster
from geovlm.boxes import Box, enclosing
from geovlm.errors import DataError
from geovlm.raster.reference import decode

CARD_PX = 240
"""Longest side of an image on a sample card."""
TRUTH, PREDICTED = (0, 150, 60), (214, 40, 40)

matplotlib.rcParams["svg.hashsalt"] = "geovlm"  # the same run gives the same file


def curves(series: Mapping[str, Sequence[tuple[float, float]]], *, ylabel: str) -> str:
    """Return an inline SVG of named lines of (step, value) points; empty if there are none."""
    drawn = {name: points for name, points in series.items() if len(points) > 1}
    if not drawn:
        return ""
    figure = Figure(figsize=(7.2, 2.8), layout="constrained")
    axes = figure.add_subplot()
    for name, points in drawn.items():
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, label=name, linewidth=1.4, marker="." if len(points) < 12 else "")
    axes.set_xlabel("step")
    axes.set_ylabel(ylabel)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def picture(reference: Any, *, truth: Sequence[Box], predicted: Sequence[Box]) -> str:
    """Return an image with its boxes as a data URI; empty if the file does not exist.

    `reference` is as `geovlm.raster.reference.encode` wrote it; boxes in pixels of the stored image
    are drawn green if true, red if predicted.
    """
    try:
        image = raster.open_image(decode(reference))
    except DataError:
        return ""
    scale = CARD_PX / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    shown = image.resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(shown)
    for boxes, colour in ((truth, TRUTH), (predicted, PREDICTED)):
        for box in map(enclosing, boxes):
            draw.rectangle([value * scale for value in box[:4]], outline=colour, width=2)
    buffer = io.BytesIO()
    shown.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
