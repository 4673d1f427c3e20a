"""Draws the figures of a report: curves as SVG, images as data URIs."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure
from PIL import Image

from geovlm import raster
from geovlm.errors import DataError
from geovlm.raster.reference import decode

CARD_PX = 360
"""Longest side of an image on a sample card."""
QUALITY = 82
"""Quality of WebP, which every current browser shows."""
POINTS = 200
"""Largest number of points of a curve; of more, every second, third, … is drawn."""
SMOOTHED = 20
"""Least number of points with a smoothed line; single points are drawn pale behind it."""

_INK, _RAW, _LEVEL = "#010101", "#020202", "#030303"
_VARIABLES = {_INK: "var(--muted)", _RAW: "var(--curve)", _LEVEL: "var(--level)"}
"""Colours that are drawn -> variables of the page's style, so that curves follow dark mode."""

matplotlib.rcParams["svg.hashsalt"] = "geovlm"  # the same run gives the same file
matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text: smaller, and in the page's font


class Picture(NamedTuple):
    """An image of a card, and the size of the stored image, in whose pixels boxes are."""

    uri: str
    width: int
    height: int


def curve(points: Sequence[tuple[float, float]], *, level: float | None = None) -> str:
    """Return an inline SVG of (step, value) points, with a horizontal line at `level`.

    Empty if there are fewer than two points. The SVG has no text but the labels of its axes.
    """
    if len(points) < 2:
        return ""
    drawn = points[:: -(-len(points) // POINTS)]
    steps, values = zip(*drawn, strict=True)
    figure = Figure(figsize=(3.6, 1.9), layout="constrained")
    axes = figure.add_subplot()
    smooth = len(drawn) >= SMOOTHED
    axes.plot(steps, values, color=_RAW, linewidth=1.6, alpha=0.3 if smooth else 1)
    if smooth:
        axes.plot(steps, _smoothed(values), color=_RAW, linewidth=1.8)
    elif len(drawn) < SMOOTHED:
        axes.plot(steps, values, color=_RAW, linestyle="", marker=".")
    if level is not None:
        axes.axhline(level, color=_LEVEL, linewidth=1.4, linestyle=(0, (4, 3)))
    axes.margins(x=0.02, y=0.12)
    axes.locator_params(axis="x", integer=True, nbins=5)
    axes.locator_params(axis="y", nbins=4)
    axes.tick_params(colors=_INK, labelsize=8, length=0)
    axes.set_xlabel("step", color=_INK, fontsize=8)
    axes.grid(axis="y", color=_INK, alpha=0.2, linewidth=0.7)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_INK)
    buffer = io.StringIO()
    figure.savefig(
        buffer,
        format="svg",
        transparent=True,
        metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")),
    )
    return _inline(buffer.getvalue())


def picture(reference: Any, *, longest_px: int = CARD_PX) -> Picture | None:
    """Return an image, made smaller where it is larger; `None` if its file does not exist.

    `reference` is as `geovlm.raster.reference.encode` wrote it.
    """
    try:
        image = raster.open_image(decode(reference))
    except DataError:
        return None
    width, height = image.size
    scale = min(1.0, longest_px / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shown = image.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    buffer = io.BytesIO()
    shown.save(buffer, format="WEBP", quality=QUALITY, method=2)
    coded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Picture(f"data:image/webp;base64,{coded}", width, height)


def _smoothed(values: Sequence[float]) -> list[float]:
    """Return the mean of each value and its neighbours, a tenth of the points in all."""
    reach = max(1, len(values) // 20)
    windows = (values[max(0, i - reach) : i + reach + 1] for i in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def _inline(svg: str) -> str:
    """Return a drawing of matplotlib for use in a page: one of several, in the page's colours."""
    text = svg[svg.index("<svg") :]
    text = re.sub(r"<style.*?</style>", "", text, flags=re.S)  # it would hold for the whole page
    text = re.sub(r' id="[a-z0-9.]+_\d+"', "", text)  # the same in every drawing
    text = re.sub(r"(<svg[^>]*?) width=\S+ height=\S+", r"\1", text, count=1)
    text = re.sub(r"font-family: [^;\"]*; ", "", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    return text
