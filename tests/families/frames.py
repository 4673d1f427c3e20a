"""A checkpoint's processor and frame, without a run: one picture, and boxes of many sizes."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import random
import tempfile
from pathlib import Path
from typing import Any, get_args

import torch
from PIL import Image

from geovlm import answers, boxes
from geovlm.api import BoxFrame, BoxOrder, ModelProfile, PromptContext, Size, Turn
from geovlm.boxes import Box
from geovlm.config import load as configs
from geovlm.engine.generation import generate
from geovlm.engine.models import load as models
from geovlm.engine.rows import rendering, tokens
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Row
from geovlm.plugins import registry
from tests.families.products import require

SIZES = 1000
"""Random image sizes and limits in the family's own frame."""
OTHERS = 100
"""The same for each other frame and order that a run may name."""
LEAST_PX = 16
"""Shortest side of an object, in the image as stored."""
LEAST_IOU = 0.9
SIDES_PX = (64, 6000)
LONGEST = 10
"""Longest side of an image over its shortest one."""
SIDE_PX = (224, 224)
"""A picture that no family has to resize to its multiples of 28 or 32 px."""
MADE, MADE_PX = 12, 1500
"""Images that the processor makes, and their longest side."""


def has_limits(model: Path) -> bool:
    """Return True if the checkpoint's processor has limits of an image's area."""
    stated = json.loads((model / "preprocessor_config.json").read_text())
    return "max_pixels" in stated or "shortest_edge" in (stated.get("size") or {})


@functools.cache
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
        images=[[Image.new("RGB", SIDE_PX, (90, 120, 60))]],
        return_tensors="pt",
    )
    with torch.no_grad():
        logits = loaded.model(**inputs).logits
    require(logits.shape[:2] == inputs["input_ids"].shape, f"logits {tuple(logits.shape)}")
    require(bool(logits.isfinite().all()), "logits are no numbers")


def boxes_survive(
    model: Path,
    *,
    sets: tuple[str, ...],
    sizes: int = SIZES,
    others: int = OTHERS,
    made: int = MADE,
) -> None:
    """Write correct completions, pass them through the family's tokenizer, and read them back.

    They earn both format rewards, and boxes keep their IoU, in the family's frame and order and in
    all others. Where the frame is the image as the model sees it, the processor makes that size.
    """
    processor, profile = reader(model, sets=sets)
    rng = random.Random(0)
    own = (profile.box_frame, profile.box_order)
    frames = itertools.product(get_args(BoxFrame), get_args(BoxOrder))
    plan = [*[own] * sizes, *(each for each in frames if each != own for _ in range(others))]
    asked = [_example(rng, _in_frame(profile, *each)) for each in plan]
    chat, control = rendering.Chat.of(processor), tokens.control_tokens(processor)
    golds = [
        answers.frame(Turn(question="Where?", reasoning="It is there.", answer=boxes.write([b], c)))
        for c, b in asked
    ]
    targets = [chat.target(control.escape(gold)) for gold in golds]
    ids = processor.tokenizer(targets, add_special_tokens=False)["input_ids"]
    said = tokens.texts(processor, ids)
    formed = [answers.has_think(text) and answers.has_answer(text) for text in said]
    require(all(formed), f"{formed.count(False)} of {len(formed)} miss a format reward")
    ious = [
        min(boxes.read_back(answers.answer_text(text), ctx, truth=[box]))
        for text, (ctx, box) in zip(said, asked, strict=True)
    ]
    require(min(ious) >= LEAST_IOU, f"IoU at worst {min(ious):.4f}")
    if profile.box_frame == "input_pixels" and made:
        _sizes_are_made(model, sets=sets, rng=rng, n=made)


def _sizes_are_made(model: Path, *, sets: tuple[str, ...], rng: random.Random, n: int) -> None:
    """Compare declared sizes with those of the patches that a prompt holds."""
    for low, high in ((200_704, 200_704), (50_176, 800_000), (3_136, 30_000)):
        limits = (f"min_pixels={low}", f"max_pixels={high}")
        processor, profile = reader(model, sets=(*sets, *limits))
        patch = processor.image_processor.patch_size
        for _ in range(n // 3):
            size = _size(rng, most=MADE_PX)
            declared = boxes.input_size(size, profile=profile)
            with tempfile.NamedTemporaryFile(suffix=".png") as file:
                Image.new("RGB", size).save(file)
                row = Row(
                    task="t",
                    sample_id="0",
                    images=(json.dumps(file.name),),
                    question="Where?",
                    image_sizes=(size,),
                    input_sizes=(declared,),
                )
                inputs = generate.encode(processor, [row], cache=ImageCache())
            _, down, across = inputs["image_grid_thw"][0].tolist()
            seen = (across * patch, down * patch)
            require(seen == declared, f"{size} px at {low}..{high}: {declared} said, {seen} made")


def _in_frame(profile: ModelProfile, frame: Any, order: Any) -> ModelProfile:
    return dataclasses.replace(profile, box_frame=frame, box_order=order)


def _size(rng: random.Random, *, most: int = SIDES_PX[1]) -> Size:
    """Return a random size, both sides log-uniform; small and large images are equally likely."""
    first = round(SIDES_PX[0] * (most / SIDES_PX[0]) ** rng.random())
    low, high = max(SIDES_PX[0], -(-first // LONGEST)), min(most, LONGEST * first)
    second = min(high, round(low * (high / low) ** rng.random()))
    return (first, second) if rng.random() < 0.5 else (second, first)


def _example(rng: random.Random, profile: ModelProfile) -> tuple[PromptContext, Box]:
    """Return an image within random limits, where GeoVLM resizes, and an object on it."""
    size = _size(rng)
    if profile.resize == "processor":
        # a frame of shares does not depend on the size that the processor makes
        seen = size
        limited = profile
    else:
        high = rng.randint(16, 4096) * profile.size_factor**2
        low = rng.choice([profile.size_factor**2, high // 2, high])
        limited = dataclasses.replace(profile, min_pixels=low, max_pixels=high)
        seen = boxes.input_size(size, profile=limited)
    sides = []
    for whole in size:
        length = LEAST_PX * (whole / LEAST_PX) ** (rng.random() ** 2)  # small ones more often
        start = rng.uniform(0, whole - length)
        sides.append((start, start + length))
    (x0, x1), (y0, y1) = sides
    ctx = PromptContext(profile=limited, image_sizes=(size,), input_sizes=(seen,))
    return ctx, Box(x0, y0, x1, y1)
