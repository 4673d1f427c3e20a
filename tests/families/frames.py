"""A checkpoint's processor and frame, without a run: one picture, and boxes of many sizes."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from geovlm import boxes
from geovlm.api import ModelProfile, PromptContext, Size
from geovlm.boxes import Box
from geovlm.config import load as configs
from geovlm.engine.models import load as models
from geovlm.errors import GeoVLMError
from geovlm.plugins import registry
from tests.families.products import require

SIZES = 1000
"""Random image sizes and limits."""
LEAST_PX = 16
"""Shortest side of an object, in the image as stored and as seen."""
MEAN_IOU, LEAST_IOU = 0.9, 0.85
"""An edge is at most half a unit of the frame off. A unit is at most a pixel, so an object of 16 x
16 px becomes at worst 15 x 15: (15 / 16)^2 = 0.88. A tokenizer has no say in this."""
SIDES_PX = (64, 1000)


def has_limits(model: Path) -> bool:
    """Return True if the checkpoint's processor has limits of an image's area."""
    stated = json.loads((model / "preprocessor_config.json").read_text())
    return "max_pixels" in stated or "shortest_edge" in (stated.get("size") or {})


def reader(model: Path, *, sets: tuple[str, ...] = ()) -> tuple[Any, ModelProfile]:
    """Return processor and profile of a checkpoint, as every stage gets them."""
    config = configs.load(None, overrides=list(sets), tasks=[], model=str(model), stages=[])
    return models.load_reader(str(model), config, registry=registry.load())


def forward(model: Path) -> None:
    """Load processor and model and pass one picture through both."""
    config = configs.load(None, overrides=[], tasks=[], model=str(model), stages=[])
    loaded = models.load(str(model), config, registry=registry.load(), place="cpu")
    processor: Any = loaded.processor
    token = getattr(processor, "image_token", None) or "<image>"
    inputs = processor(
        text=[f"{token} What is this?"],
        images=[[Image.new("RGB", (128, 96), (90, 120, 60))]],
        return_tensors="pt",
    )
    with torch.no_grad():
        logits = loaded.model(**inputs).logits
    require(logits.shape[:2] == inputs["input_ids"].shape, f"logits {tuple(logits.shape)}")
    require(bool(logits.isfinite().all()), "logits are no numbers")


def boxes_survive(model: Path, *, sets: tuple[str, ...]) -> None:
    """Write boxes in the family's frame, pass them through its tokenizer, and read them back."""
    processor, profile = reader(model, sets=sets)
    rng = random.Random(0)
    asked, texts = [], []
    for _ in range(SIZES):
        ctx = _context(rng, profile)
        box = _box(rng, ctx)
        asked.append((ctx, box))
        texts.append(boxes.write([box], ctx))
    ids = processor.tokenizer(texts, add_special_tokens=False)["input_ids"]
    found = [
        boxes.parse(text, ctx)
        for text, (ctx, _) in zip(
            processor.tokenizer.batch_decode(ids, skip_special_tokens=True), asked, strict=True
        )
    ]
    require(all(len(each) == 1 for each in found), "a box is not read back")
    ious = [boxes.iou(each[0], box) for each, (_, box) in zip(found, asked, strict=True)]
    mean = sum(ious) / len(ious)
    require(
        mean >= MEAN_IOU and min(ious) >= LEAST_IOU, f"IoU {mean:.3f}, at worst {min(ious):.3f}"
    )


def _context(rng: random.Random, profile: ModelProfile) -> PromptContext:
    """Return an image of a random size, within random limits where GeoVLM resizes."""
    size: Size = (rng.randint(*SIDES_PX), rng.randint(*SIDES_PX))
    if profile.resize == "processor":
        seen = profile.seen_size(size) if profile.seen_size is not None else size
        return PromptContext(profile=profile, image_sizes=(size,), input_sizes=(seen,))
    high = rng.randint(4, 1200) * profile.size_factor**2
    low = rng.choice([profile.size_factor**2, high // 2, high])
    limited = dataclasses.replace(profile, min_pixels=low, max_pixels=high)
    try:
        seen = boxes.input_size(size, profile=limited)
    except GeoVLMError:
        return _context(rng, profile)
    return PromptContext(profile=limited, image_sizes=(size,), input_sizes=(seen,))


def _box(rng: random.Random, ctx: PromptContext) -> Box:
    """Return a box of at least `LEAST_PX` in the image as stored and as seen."""
    sides = []
    for whole, seen in zip(ctx.image_sizes[0], ctx.input_sizes[0], strict=True):
        least = min(whole, max(LEAST_PX, LEAST_PX * whole / seen))
        length = rng.uniform(least, whole)
        start = rng.uniform(0, whole - length)
        sides.append((start, start + length))
    (x0, x1), (y0, y1) = sides
    return Box(x0, y0, x1, y1)
