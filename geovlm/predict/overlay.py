"""Draws a prediction: the images side by side, the features on the newest one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geovlm.api import Raster
from geovlm.predict.georeference.antimeridian import Point
from geovlm.predict.windows.tiles import Window

if TYPE_CHECKING:
    from PIL import Image

PANEL_PX = 1600
"""Longest side of a drawn image, pixels."""
_SMALLEST_PX = 640  # a small image is enlarged to this side, so that labels can be read
_GAP_PX = 12
_LETTERS = 40  # longest label
_COLOURS = ("#ffd000", "#00e5ff", "#ff4081", "#76ff03", "#ff9100", "#d580ff")


def draw(
    images: Sequence[Path | Raster], area: Window, shapes: Iterable[tuple[list[Point], str]]
) -> Image.Image:
    """Draw the outlines and labels of features; one colour per label, in order of appearance.

    Images are on one grid, oldest first; a shape is (corners in pixels of the grid, label).

    Raises:
        DataError: An image cannot be read; names the file.
    """
    from PIL import Image, ImageDraw, ImageFont

    from geovlm.raster import open_window

    longest = max(area.width, area.height)
    scale = min(PANEL_PX, max(_SMALLEST_PX, longest)) / longest
    size = max(1, round(area.width * scale)), max(1, round(area.height * scale))
    panels = [open_window(image, area, out_size=size) for image in images]
    pen = ImageDraw.Draw(panels[-1])
    font = ImageFont.load_default(size=13)
    colours: dict[str, str] = {}
    for ring, label in shapes:
        colour = colours.setdefault(label, _COLOURS[len(colours) % len(_COLOURS)])
        outline = [((x - area.x) * scale, (y - area.y) * scale) for x, y in ring]
        pen.line([*outline, outline[0]], fill=colour, width=2)
        text = label if len(label) <= _LETTERS else f"{label[: _LETTERS - 1]}…"
        at = min(outline, key=lambda point: point[0] + point[1])
        where = max(0.0, at[0]) + 3, max(0.0, at[1]) + 2
        pen.text(where, text, fill=colour, font=font, stroke_width=2, stroke_fill=(0, 0, 0))
    width = sum(panel.width for panel in panels) + _GAP_PX * (len(panels) - 1)
    sheet = Image.new("RGB", (width, size[1]), "white")
    x = 0
    for panel in panels:
        sheet.paste(panel, (x, 0))
        x += panel.width + _GAP_PX
    return sheet
