"""How `geovlm.scenes` paints: ground textures, traces of disasters, objects and their damage.

All shapes are relative to the frame or to the object's box, so a picture looks alike at every size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from geovlm.scenes.composing import Item

GRID = 64
"""Cells of the texture noise along each side of the frame."""

_ROOF_RGB = {
    "red": (198, 44, 36),
    "blue": (58, 104, 240),
    "white": (244, 244, 240),
    "grey": (92, 92, 98),
}


def cover_texture(name: str, noise: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Brightness to add, (rows, columns), from noise and relative pixel positions."""
    if name == "cropland":
        return 4 * noise + 13 * np.sign(np.sin(2 * np.pi * 15 * (u + 0.4 * v[:, None])))
    if name == "water":
        return 3 * noise + 5 * np.sin(2 * np.pi * (6 * v[:, None] + 2 * u))
    if name == "urban":
        return 5 * noise - 26 * (((u * 10) % 1 < 0.16) | ((v[:, None] * 10) % 1 < 0.16))
    return noise * {"forest": 13, "pasture": 4, "bare soil": 6}[name]


def trace(
    canvas: np.ndarray, disaster: str, *, rng: np.random.Generator, u: np.ndarray, v: np.ndarray
) -> None:
    """Paint what a disaster leaves on the ground."""
    phase, at, flip = rng.uniform(0, 6.28), rng.uniform(0.3, 0.7), rng.random() < 0.5
    x, y = (u[None, :], v[:, None]) if rng.random() < 0.5 else (v[:, None], u[None, :])
    y = 1 - y if flip else y
    wave = 0.05 * np.sin(9 * x + phase)
    if disaster == "volcano":
        away = np.abs(x - at - 0.07 * np.sin(7 * y + phase)) + np.where(y > 0.8, 1.0, 0.0)
        canvas[away < 0.12] = (46, 24, 22)
        canvas[away < 0.055] = (236, 74, 18)
    elif disaster == "fire":
        blobs = rng.standard_normal((8, 8), np.float32)[
            (v * 8).astype(np.intp)[:, None], (u * 8).astype(np.intp)
        ]
        canvas[blobs > 0.2] *= 0.18
    elif disaster == "earthquake":
        for start in (at - 0.3, at, at + 0.3):
            zigzag = 0.05 * np.abs((x * 7 + phase) % 2 - 1)
            canvas[np.abs(y - start - 0.3 * (x - 0.5) - zigzag) < 0.014] = (244, 228, 204)
    elif disaster == "flood":
        canvas[y > at - 0.15 + wave] = (96, 128, 122)
    elif disaster == "tsunami":
        edge = y - at - wave
        canvas[edge > 0] = (112, 78, 40)
        canvas[np.abs(edge) < 0.025] = (250, 246, 232)
    else:  # wind
        specks = rng.random((GRID, GRID))[
            (v * GRID).astype(np.intp)[:, None], (u * GRID).astype(np.intp)
        ]
        canvas[specks < 0.08] = (238, 232, 216)


def draw_item(canvas: np.ndarray, item: Item, *, damage: str, seed: tuple[int, int]) -> None:
    """Paint one object; `seed` decides where tarp, collapse and rubble lie."""
    height, width = canvas.shape[:2]
    x0, y0, x1, y1 = item.box
    half_w, half_h = (x1 - x0) / 2, (y1 - y0) / 2
    cos, sin = np.cos(np.radians(item.angle_deg)), np.sin(np.radians(item.angle_deg))
    reach_x, reach_y = abs(half_w * cos) + abs(half_h * sin), abs(half_w * sin) + abs(half_h * cos)
    centre_x, centre_y = (x0 + x1) / 2, (y0 + y1) / 2
    left, right = max(0, round(centre_x - reach_x)), min(width, round(centre_x + reach_x))
    top, bottom = max(0, round(centre_y - reach_y)), min(height, round(centre_y + reach_y))
    dx = np.arange(left, right, dtype=np.float32)[None, :] + 0.5 - centre_x
    dy = np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5 - centre_y
    a = (dx * cos + dy * sin) / half_w  # -1..1 across the unturned box
    b = (dy * cos - dx * sin) / half_h  # -1..1 down it
    patch = canvas[top:bottom, left:right]
    inside = _outline(item.kind, a, b, tall=half_h > half_w)
    paint = np.array(_ROOF_RGB[item.colour], np.float32)
    if item.kind != "building":
        patch[inside] = paint
        patch[inside & ~_outline(item.kind, a * 1.25, b * 1.25, tall=half_h > half_w)] = (
            paint * 0.45
        )
        return
    rng = np.random.default_rng(seed)
    if damage == "destroyed":
        rubble = rng.random((8, 8), np.float32)
        grain = rubble[
            np.clip((b * 4 + 4).astype(np.intp), 0, 7), np.clip((a * 4 + 4).astype(np.intp), 0, 7)
        ]
        patch[inside] = (np.array((92, 74, 60), np.float32) + 95 * (grain[..., None] - 0.4))[inside]
        return
    patch[inside] = paint
    patch[inside & ((b if half_w > half_h else a) > 0)] = paint * 0.8  # the roof's far slope
    patch[inside & (np.maximum(np.abs(a), np.abs(b)) > 0.84)] = (40, 34, 34)
    sign_a, sign_b = np.where(rng.random(2) < 0.5, -1.0, 1.0)
    if damage == "minor-damage":
        patch[(np.abs(a - 0.22 * sign_a) < 0.42) & (np.abs(b - 0.22 * sign_b) < 0.42)] = (
            20,
            214,
            236,
        )
    elif damage == "major-damage":
        ragged = a * sign_a + 0.25 * np.sign(np.sin(9 * b)) * sign_b
        patch[inside & (ragged > -0.05)] = (30, 24, 24)


def _outline(kind: str, a: np.ndarray, b: np.ndarray, *, tall: bool) -> np.ndarray:
    """Pixels that belong to the object, from relative positions -1..1 in its box."""
    if kind == "storage tank":
        return a * a + b * b <= 1
    if kind == "airplane":
        body = (np.abs(a) < 0.2) & (np.abs(b) <= 1)
        wings = (np.abs(b + 0.1) < 0.22) & (np.abs(a) <= 1)
        return body | wings | ((np.abs(b - 0.85) < 0.15) & (np.abs(a) < 0.5))
    if kind == "ship":
        along, across = (b, a) if tall else (a, b)
        return (np.abs(along) <= 1) & (np.abs(across) <= np.minimum(1, (1 - along) / 0.75))
    return (np.abs(a) <= 1) & (np.abs(b) <= 1)
