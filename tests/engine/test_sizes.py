"""Images are seen at the size that is declared: one resize, whatever the limits."""

from __future__ import annotations

import dataclasses
import functools
import json
import random
from pathlib import Path

import pytest
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from geovlm import boxes, nano
from geovlm.boxes import Box, iou
from geovlm.config import load as configs
from geovlm.config.model import loose_limits
from geovlm.engine.generation import generate
from geovlm.engine.models import load
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Row
from geovlm.plugins import registry
from geovlm.plugins.profiles import GENERIC, QWEN2_5_VL, QWEN3_VL

PATCH = 7  # of the built-in model
LIMITS = (None, (3136, 12845056), (200704, 200704), (100352, 110000), (50176, 3000000))
"""Smallest and largest area, pixels; `None`: those of the built-in model, which are equal."""


@pytest.mark.parametrize("family", [QWEN2_5_VL, QWEN3_VL], ids=lambda family: family.name)
def test_a_second_resize_with_loose_limits_changes_no_size(family) -> None:
    drawn = random.Random(0)
    for _ in range(2000):
        low = drawn.choice([784, 3136, 50_176, 200_704])
        high = drawn.choice([low, low + 5000, 8 * low])
        stored = drawn.randint(10, 2000), drawn.randint(10, 2000)
        first = dataclasses.replace(family, min_pixels=low, max_pixels=high)
        made = boxes.input_size(stored, profile=first)
        loose = loose_limits(low, high)
        again = smart_resize(
            made[1],
            made[0],
            factor=family.size_factor,
            min_pixels=loose.lowest,
            max_pixels=loose.highest,
        )
        assert again == made[::-1], (stored, low, high)


def test_a_processor_that_resizes_gets_the_stored_picture() -> None:
    assert boxes.picture_size((1001, 733), profile=GENERIC) == (1001, 733)


def test_a_task_enlarges_the_picture_of_a_processor_that_resizes() -> None:
    # 120 x 60 to an area of 448 x 448: 5.28 times as wide and high
    picture = boxes.picture_size((120, 60), profile=GENERIC, min_pixels=448 * 448)
    assert picture == (634, 317)


def test_the_seen_size_is_the_one_of_the_picture() -> None:
    tiled = dataclasses.replace(GENERIC, seen_size=lambda size: (size[0] * 2, size[1] * 2))
    assert boxes.input_size((100, 50), profile=tiled, min_pixels=20_000) == (400, 200)


@functools.cache
def reader(limits: tuple[int, int] | None) -> tuple:
    """Return processor and profile of the built-in model with these limits of a run."""
    pixels = [] if limits is None else [f"min_pixels={limits[0]}", f"max_pixels={limits[1]}"]
    config = configs.load(None, tasks=["xbd/count"], overrides=["device=cpu", *pixels])
    return load.load_reader(str(nano.path()), config, registry=registry.load())


def sized(folder: Path, size: tuple[int, int], *, limits: tuple[int, int] | None) -> tuple:
    """Return the declared size of a stored image, and the one that the model's inputs have."""
    processor, profile = reader(limits)
    image = folder / "stored.png"
    Image.new("RGB", size).save(image)
    declared = boxes.input_size(size, profile=profile)
    row = Row(
        task="t",
        sample_id="0",
        images=(json.dumps(str(image)),),
        question="Where?",
        image_sizes=(size,),
        input_sizes=(declared,),
    )
    inputs = generate.encode(processor, [row], cache=ImageCache())
    _, high, wide = inputs["image_grid_thw"][0].tolist()
    return profile, declared, (wide * PATCH, high * PATCH)


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("size", [(600, 400), (401, 997), (1024, 1024), (90, 1300), (31, 47)])
def test_what_is_declared_is_what_the_model_sees(
    tmp_path: Path, size: tuple[int, int], limits: tuple[int, int] | None
) -> None:
    _, declared, seen = sized(tmp_path, size, limits=limits)
    assert seen == declared


def test_boxes_of_a_perfect_model_read_back_with_equal_limits(tmp_path: Path) -> None:
    drawn = random.Random(0)
    size = (600, 400)
    profile, declared, seen = sized(tmp_path, size, limits=(200704, 200704))
    for _ in range(100):
        x, y = drawn.randrange(500), drawn.randrange(300)
        box = Box(x, y, x + drawn.randrange(16, 100), y + drawn.randrange(16, 100))
        written = boxes.to_frame(box, profile=profile, image_size=size, input_size=seen)
        rounded = [round(number) for number in written]
        read = boxes.from_frame(rounded, profile=profile, image_size=size, input_size=declared)
        assert iou(box, read) >= 0.85  # the rest is the rounding of 16 px to whole numbers
