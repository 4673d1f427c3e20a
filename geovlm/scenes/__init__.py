"""Procedural Earth-observation scenes: the built-in sample data, and what nano was trained on."""

from __future__ import annotations

from geovlm.scenes.composing import (
    COVERS,
    DAMAGES,
    DISASTERS,
    KINDS,
    ROOFS,
    Item,
    Scene,
    compose,
    cover_map,
    render,
)

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
