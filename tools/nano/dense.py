"""Trains the vision tower of nano alone, the first phase of its pretraining.

A linear head on every visual token predicts a map of its 28 x 28 px, in cells of 4 px: ground,
object, colour, damage, object centre and the edges of the object's box; and the disaster. One image
gives some thousand targets instead of the few tokens of an answer, so this phase takes minutes. The
head is discarded.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from transformers import Qwen2_5_VLForConditionalGeneration

from geovlm.scenes import COVERS, DAMAGES, DISASTERS, KINDS, ROOFS, Scene, cover_map
from tools.nano.architecture import IMAGE_SIDE_PX, VISUAL_TOKENS
from tools.nano.batch import pixels
from tools.nano.views import draw_scene, view

CELL_PX = 4
BATCH = 64
_ACROSS = IMAGE_SIDE_PX // CELL_PX  # 21 cells
_TOKENS_ACROSS = round(VISUAL_TOKENS**0.5)
_CELLS = (_ACROSS // _TOKENS_ACROSS) ** 2  # per token
_IGNORED = -100

CLASSES = {
    "ground": len(COVERS),
    "thing": 2 + len(KINDS),  # nothing, road, the kinds
    "colour": len(ROOFS),
    "damage": len(DAMAGES),
    "centre": 2,
}
"""Maps that the head predicts by cell, and their number of classes."""


class Head(nn.Module):
    """One linear layer from a visual token to the maps of its cells, its boxes and the disaster."""

    def __init__(self, width: int) -> None:
        super().__init__()
        outputs = {name: _CELLS * n for name, n in CLASSES.items()}
        outputs |= {"box": _CELLS * 4, "disaster": 1 + len(DISASTERS)}
        self.layers = nn.ModuleDict({name: nn.Linear(width, n) for name, n in outputs.items()})

    def loss(self, tokens: torch.Tensor, targets: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the sum of the maps' mean cross-entropies, the boxes' L1 error and the disaster's.

        `tokens` is (images, VISUAL_TOKENS, width); `targets` are those of `maps`, stacked.
        """
        found = {name: layer(tokens) for name, layer in self.layers.items()}
        total = functional.cross_entropy(found["disaster"].mean(1), targets["disaster"])
        for name, n in CLASSES.items():
            total = total + functional.cross_entropy(
                found[name].reshape(-1, n), targets[name].reshape(-1), ignore_index=_IGNORED
            )
        there = targets["thing"] > 1
        boxes = found["box"].reshape(*there.shape, 4)
        return total + 10 * (boxes[there] - targets["box"][there]).abs().mean()


def maps(scene: Scene, *, before: bool = False) -> dict[str, np.ndarray]:
    """Return the targets of the head for a scene.

    Returns:
        Class maps `CLASSES`, each (VISUAL_TOKENS, cells per token) int64, -100 where the class does
        not apply; "box", float32 with a last axis (x0, y0, x1, y1) as shares of the frame; and
        "disaster", one int64, 0 for none.
    """
    side = scene.size_px[0]
    at = ((np.arange(_ACROSS) + 0.5) * side / _ACROSS).astype(int)
    shape = (_ACROSS, _ACROSS)
    found = {name: np.full(shape, _IGNORED) for name in CLASSES}
    found["ground"] = cover_map(scene)[np.ix_(at, at)].astype(np.int64)
    found["thing"] = np.zeros(shape, np.int64)
    found["centre"] = np.zeros(shape, np.int64)
    box = np.zeros((*shape, 4), np.float32)
    for strip in scene.road:
        found["thing"][_inside(strip, at)] = 1
    for item in scene.items:
        window = _inside(item.box, at)
        found["ground"][window] = _IGNORED
        found["thing"][window] = 2 + KINDS.index(item.kind)
        found["colour"][window] = ROOFS.index(item.colour)
        found["damage"][window] = 0 if before else DAMAGES.index(item.damage)
        box[window] = np.array(item.box, np.float32) / side
        x0, y0, x1, y1 = item.box
        row, column = (int((low + high) / 2 / side * _ACROSS) for low, high in ((y0, y1), (x0, x1)))
        found["centre"][row, column] = 1
    shown = "" if before else scene.disaster
    by_token = {name: _by_token(values) for name, values in (found | {"box": box}).items()}
    return by_token | {"disaster": np.array(1 + DISASTERS.index(shown) if shown else 0)}


def _inside(box: tuple[float, float, float, float], at: np.ndarray) -> tuple[np.ndarray, ...]:
    x0, y0, x1, y1 = box
    return np.ix_((at >= y0) & (at < y1), (at >= x0) & (at < x1))


def _by_token(grid: np.ndarray) -> np.ndarray:
    """Reshape (21, 21, ...) to (9, 49, ...): by visual token."""
    n, cells = _TOKENS_ACROSS, _ACROSS // _TOKENS_ACROSS
    rest = grid.shape[2:]
    split = grid.reshape(n, cells, n, cells, *rest).swapaxes(1, 2)
    return split.reshape(VISUAL_TOKENS, _CELLS, *rest)


class _Views(Dataset):
    """Batch number `i`: random views and their targets, a function of (seed, i)."""

    def __init__(self, *, steps: int, seed: int, batch: int) -> None:
        self.steps, self.seed, self.batch = steps, seed, batch

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        rng = np.random.default_rng((self.seed, 1, step))
        images, targets = [], []
        for _ in range(self.batch):
            scene = draw_scene(rng, pair=bool(rng.random() < 0.4))
            before = bool(rng.random() < 0.2)
            images.append(view(rng, scene, before=before))
            targets.append(maps(scene, before=before))
        stacked = {
            name: torch.from_numpy(np.stack([each[name] for each in targets]))
            for name in targets[0]
        }
        return pixels(images), stacked


def pretrain(
    model: Qwen2_5_VLForConditionalGeneration,
    *,
    steps: int,
    seed: int,
    batch: int = BATCH,
    learning_rate: float = 2e-3,
) -> list[float]:
    """Train the vision tower of `model` in place for `steps` batches; return their losses."""
    torch.manual_seed(seed)
    tower = model.model.visual
    head = Head(tower.config.out_hidden_size)
    weights = [*tower.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=learning_rate, total_steps=steps, pct_start=min(0.1, 100 / steps)
    )
    views = DataLoader(
        _Views(steps=steps, seed=seed, batch=batch),
        batch_size=None,
        num_workers=1,
        prefetch_factor=4,
    )
    started, losses = time.monotonic(), []
    for step, (shown, targets) in enumerate(views, 1):
        optimizer.zero_grad(set_to_none=True)
        seen = tower(shown["pixel_values"], grid_thw=shown["image_grid_thw"]).pooler_output
        loss = head.loss(seen.reshape(batch, VISUAL_TOKENS, -1), targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 50 == 0 or step == steps:
            rate = step / (time.monotonic() - started)
            mean = float(np.mean(losses[-50:]))
            print(f"vision step {step} loss {mean:.3f} {rate:.2f}/s", flush=True)
    return losses
