"""Synthetic scenes for tests, demos and nano."""

from __future__ import annotations

from geovlm.scenes.composing import COVERS, DAMAGES, DISASTERS, KINDS, ROOFS, Item, Scene, compose
from geovlm.scenes.painting import cover_map, render

__all__ = [
    "COVERS",
    "DAMAGES",
    "DISASTERS",
    "KINDS",
    "ROOFS",
    "Item",
    "Scene",
    "compose",
    "cover_map",
    "render",
]
