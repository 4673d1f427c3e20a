"""Paints scenes: ground textures, traces of disasters, objects and their damage.

All shapes are relative to the frame or to the object's box, so a picture looks alike at every size.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from geovlm.scenes.composing import COVERS, Box, Item, Scene

_GRID = 64
"""Cells of the texture noise along each side of the frame."""

_COVER_RGB = np.array(
    [(38, 88, 42), (196, 174, 92), (140, 192, 98), (28, 62, 128), (150, 144, 146), (172, 116, 74)],
    np.float32,
)
_ROOF_RGB = {
    "red": (198, 44, 36),
    "blue": (58, 104, 240),
    "white": (244, 244, 240),
    "grey": (92, 92, 98),
}


def render(scene: Scene, *, when: Literal["pre", "post"] = "post") -> np.ndarray:
    """Draw a scene: the picture, (H, W, 3) uint8.

    `when="pre"` shows it before the disaster: nothing damaged, no traces on the ground.
    """
    width, height = scene.size_px
    rng = np.random.default_rng(scene.seed)
    coarse = rng.standard_normal((_GRID, _GRID), np.float32)
    tint = rng.uniform(-9, 9, (len(COVERS), 3)).astype(np.float32)
    u = (np.arange(width, dtype=np.float32) + 0.5) / width
    v = (np.arange(height, dtype=np.float32) + 0.5) / height
    cell_x, cell_y = (u * _GRID).astype(np.intp), (v * _GRID).astype(np.intp)
    canvas = np.empty((height, width, 3), np.float32)
    for name, box in scene.covers:
        window = rows, columns = _window(box)
        index = COVERS.index(name)
        shade = _cover_texture(
            name, coarse[cell_y[rows][:, None], cell_x[columns]], u[columns], v[rows]
        )
        canvas[window] = (_COVER_RGB[index] + tint[index]) + shade[..., None]
    for box in scene.road:
        window = rows, columns = _window(box)
        canvas[window] = (66, 64, 68)
        x0, y0, x1, y1 = box
        if x1 - x0 > y1 - y0:
            along, middle = u[columns][None, :], _middle(y0, y1, rows)[:, None]
        else:
            along, middle = v[rows][:, None], _middle(x0, x1, columns)[None, :]
        canvas[window][middle & ((along * 16) % 1 < 0.6)] = (225, 215, 150)
    after = when == "post"
    if after and scene.disaster:
        _paint_trace(canvas, scene.disaster, rng=np.random.default_rng((scene.seed, 1)), u=u, v=v)
    for number, item in enumerate(scene.items):
        damage = item.damage if after else "no-damage"
        _draw_item(canvas, item, damage=damage, seed=(scene.seed, 2 + number))
    return np.clip(canvas, 0, 255).astype(np.uint8)


def cover_map(scene: Scene) -> np.ndarray:
    """Return the land cover of every pixel, (H, W) uint8, as an index into `COVERS`.

    Objects and roads do not count.
    """
    width, height = scene.size_px
    labels = np.zeros((height, width), np.uint8)
    for name, box in scene.covers:
        labels[_window(box)] = COVERS.index(name)
    return labels


def _cover_texture(name: str, noise: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the brightness to add, (rows, columns), from noise and relative positions."""
    if name == "cropland":
        return 4 * noise + 13 * np.sign(np.sin(2 * np.pi * 15 * (u + 0.4 * v[:, None])))
    if name == "water":
        return 3 * noise + 5 * np.sin(2 * np.pi * (6 * v[:, None] + 2 * u))
    if name == "urban":
        return 5 * noise - 26 * (((u * 10) % 1 < 0.16) | ((v[:, None] * 10) % 1 < 0.16))
    return noise * {"forest": 13, "pasture": 4, "bare soil": 6}[name]


def _paint_trace(
    canvas: np.ndarray, disaster: str, *, rng: np.random.Generator, u: np.ndarray, v: np.ndarray
) -> None:
    """Paint the traces of a disaster on the ground."""
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
        specks = rng.random((_GRID, _GRID))[
            (v * _GRID).astype(np.intp)[:, None], (u * _GRID).astype(np.intp)
        ]
        canvas[specks < 0.08] = (238, 232, 216)


def _draw_item(canvas: np.ndarray, item: Item, *, damage: str, seed: tuple[int, int]) -> None:
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
    tall = half_h > half_w
    inside = _outline(item.kind, a, b, tall=tall)
    paint = np.array(_ROOF_RGB[item.colour], np.float32)
    if item.kind != "building":
        patch[inside] = paint
        patch[inside & ~_outline(item.kind, a * 1.25, b * 1.25, tall=tall)] = paint * 0.45
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
        tarp = (np.abs(a - 0.22 * sign_a) < 0.42) & (np.abs(b - 0.22 * sign_b) < 0.42)
        patch[tarp] = (20, 214, 236)
    elif damage == "major-damage":
        ragged = a * sign_a + 0.25 * np.sign(np.sin(9 * b)) * sign_b
        patch[inside & (ragged > -0.05)] = (30, 24, 24)


def _outline(kind: str, a: np.ndarray, b: np.ndarray, *, tall: bool) -> np.ndarray:
    """Return where the object is, from relative positions -1..1 in its box."""
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


def _window(box: Box) -> tuple[slice, slice]:
    x0, y0, x1, y1 = map(round, box)
    return slice(y0, y1), slice(x0, x1)


def _middle(low: float, high: float, part: slice) -> np.ndarray:
    at = (np.arange(part.start, part.stop) + 0.5 - low) / (high - low)
    return np.abs(at - 0.5) < 0.15
