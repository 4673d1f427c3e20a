"""Teaches nano to see: maps that are read from its visual tokens, beside the questions.

Linear heads predict them. From a token of the vision tower, which stands for 14 x 14 px: ground,
object, colour and damage in cells of 3.5 px, whether an object's centre lies there, and the edges
of the object that covers it, in pixels from the token's corner; and of each image the disaster. The
tower cannot know places: its positions are relative, and an image has no border. The language model
can, as it counts from the start of the image: from its hidden states after `LAYER` layers, the
heads predict row and column of the token and the edges in pixels of the image. One image gives some
hundred targets instead of the few tokens of an answer. The heads are discarded.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from geovlm.scenes import COVERS, DAMAGES, DISASTERS, KINDS, ROOFS, Scene, cover_map
from tools.nano.architecture import IMAGE_SIDE_PX, TOKEN_PX, TOKENS_ACROSS, VISUAL_TOKENS

LAYER = 2
"""Layers of the language model below its heads; those above read what the heads taught."""
_ACROSS = 4 * TOKENS_ACROSS  # cells of 3.5 px
_CELLS = (_ACROSS // TOKENS_ACROSS) ** 2  # per token
_IGNORED = -100

CLASSES = {
    "ground": len(COVERS),
    "thing": 2 + len(KINDS),  # nothing, road, the kinds
    "colour": len(ROOFS),
    "damage": len(DAMAGES),
}
"""Maps that are predicted by cell, and their number of classes."""
_REACH_PX = 3 * TOKEN_PX
"""Largest distance of an edge from the corner of a token that the object covers in part: an object
is at most 29 px wide."""
_COVERED = 4
"""Least cells of a token that an object covers, for its box to be that of the token."""
_SEEN = {"centre": 2, "edges": 2 * _REACH_PX + 1}
_PLACED = {"row": TOKENS_ACROSS, "column": TOKENS_ACROSS, "box": IMAGE_SIDE_PX + 1}


class Heads(nn.Module):
    """Linear layers from visual tokens to the maps: of the tower, and of the language model."""

    def __init__(self, width: int) -> None:
        super().__init__()
        seen = {name: _CELLS * n for name, n in CLASSES.items()}
        seen |= {"centre": 2, "edges": 4 * _SEEN["edges"], "disaster": 1 + len(DISASTERS)}
        placed = {**_PLACED, "box": 4 * _PLACED["box"]}
        self.seen_norm, self.placed_norm = nn.RMSNorm(width), nn.RMSNorm(width)
        self.seen = nn.ModuleDict({name: nn.Linear(width, n) for name, n in seen.items()})
        self.placed = nn.ModuleDict({name: nn.Linear(width, n) for name, n in placed.items()})

    def losses(
        self, seen: torch.Tensor, placed: torch.Tensor, targets: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return the mean cross-entropy of every map.

        `seen` and `placed` are (images, VISUAL_TOKENS, width): tokens of the tower and hidden
        states of the language model. `targets` are those of `maps`, stacked.
        """
        seen, placed = self.seen_norm(seen), self.placed_norm(placed)
        losses = {
            "disaster": functional.cross_entropy(
                self.seen["disaster"](seen).mean(1), targets["disaster"]
            )
        }
        for tokens, layers, sizes in (
            (seen, self.seen, {**CLASSES, **_SEEN}),
            (placed, self.placed, _PLACED),
        ):
            for name, n in sizes.items():
                wanted = targets[name].reshape(-1)
                total = functional.cross_entropy(
                    layers[name](tokens).reshape(-1, n),
                    wanted,
                    ignore_index=_IGNORED,
                    reduction="sum",
                )
                losses[name] = total / (wanted != _IGNORED).sum().clamp(min=1)
        return losses


def maps(scene: Scene, *, before: bool = False) -> dict[str, np.ndarray]:
    """Return the targets of the head for a scene.

    Returns:
        Class maps `CLASSES`, each (VISUAL_TOKENS, cells per token) int64, -100 where the class does
        not apply; "centre", "row" and "column", (VISUAL_TOKENS,) int64, 1 where an object's centre
        lies, and the place of the token; "box", (VISUAL_TOKENS, 4) int64, edges (x0, y0, x1, y1) of
        the object that covers most of the token, in pixels of nano's image, -100 without one;
        "edges", the same from the token's corner, plus `_REACH_PX`; and "disaster", one int64, 0
        for none.
    """
    side = scene.size_px[0]
    at = ((np.arange(_ACROSS) + 0.5) * side / _ACROSS).astype(int)
    shape = (_ACROSS, _ACROSS)
    found = {name: np.full(shape, _IGNORED) for name in CLASSES}
    found["ground"] = cover_map(scene)[np.ix_(at, at)].astype(np.int64)
    found["thing"] = np.zeros(shape, np.int64)
    centre = np.zeros(VISUAL_TOKENS, np.int64)
    owner = np.full(shape, -1)
    rows, columns = np.divmod(np.arange(VISUAL_TOKENS), TOKENS_ACROSS)
    for strip in scene.road:
        found["thing"][_inside(strip, at)] = 1
    for number, item in enumerate(scene.items):
        window = _inside(item.box, at)
        owner[window] = number
        found["ground"][window] = _IGNORED
        found["thing"][window] = 2 + KINDS.index(item.kind)
        found["colour"][window] = ROOFS.index(item.colour)
        found["damage"][window] = 0 if before else DAMAGES.index(item.damage)
        x0, y0, x1, y1 = item.box
        row, column = (
            int((low + high) / 2 / side * TOKENS_ACROSS) for low, high in ((y0, y1), (x0, x1))
        )
        centre[row * TOKENS_ACROSS + column] = 1
    shown = "" if before else scene.disaster
    box, edges = _boxes(scene, _by_token(owner))
    by_token = {name: _by_token(values) for name, values in found.items()}
    return by_token | {
        "centre": centre,
        "row": rows,
        "column": columns,
        "box": box,
        "edges": edges,
        "disaster": np.array(1 + DISASTERS.index(shown) if shown else 0),
    }


def _boxes(scene: Scene, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the box of the object that covers most of each token, in the image and from the token.

    `owner` is (VISUAL_TOKENS, cells per token): number of the object that covers a cell, or -1.
    """
    box, edges = (np.full((VISUAL_TOKENS, 4), _IGNORED) for _ in range(2))
    for token, cells in enumerate(owner):
        counts = np.bincount(cells[cells >= 0], minlength=1)
        if counts.max() < _COVERED:
            continue
        row, column = divmod(token, TOKENS_ACROSS)
        corners = scene.items[int(counts.argmax())].box
        box[token] = [round(value * IMAGE_SIDE_PX / scene.size_px[0]) for value in corners]
        away = box[token] - np.array([column, row, column, row]) * TOKEN_PX
        edges[token] = np.clip(away, -_REACH_PX, _REACH_PX) + _REACH_PX
    return box, edges


def stack(targets: list[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
    """Return the targets of several images as tensors."""
    return {name: torch.from_numpy(np.stack([t[name] for t in targets])) for name in targets[0]}


def _inside(box: tuple[float, float, float, float], at: np.ndarray) -> tuple[np.ndarray, ...]:
    x0, y0, x1, y1 = box
    return np.ix_((at >= y0) & (at < y1), (at >= x0) & (at < x1))


def _by_token(grid: np.ndarray) -> np.ndarray:
    """Reshape (cells down, cells across) to (VISUAL_TOKENS, cells per token)."""
    n, cells = TOKENS_ACROSS, _ACROSS // TOKENS_ACROSS
    return grid.reshape(n, cells, n, cells).swapaxes(1, 2).reshape(VISUAL_TOKENS, _CELLS)
