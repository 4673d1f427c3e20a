"""The size that is declared is the size that is seen, and tokens said are tokens made."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from geovlm import boxes
from geovlm.config import load as configs
from geovlm.config import model as models
from geovlm.data.prompts import visual_tokens
from geovlm.engine.models import limits, load
from geovlm.errors import ConfigError
from geovlm.plan import sizes
from geovlm.plugins import registry
from tests.families.test_processors import every, question
from tools.families.checkpoints import checkpoint as build

Build = Callable[[str], Path]
CHATS = [each for each in every() if each.values != ("paligemma2",)]  # it has no chat template
GRIDS = (
    *("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe"),
    *("glm4v", "glm4v_moe", "glm46v"),
)
LIMITS: list[dict[str, int]] = [
    {},
    *({"max_pixels": each} for each in (400_000, 1_000_000, 2_500_000)),
]
SIZES = 1000
"""Random sizes of each family."""


def settings(name: str, **given: int) -> Any:
    """Return the configuration of a run with a checkpoint and pixel limits."""
    pairs = [f"{key}={value}" for key, value in given.items()]
    overrides = ["device=cpu", f"model={build(name)}", *pairs]
    return configs.load(None, tasks=["rsvqa/lr"], overrides=overrides)


@functools.cache
def reader(name: str, **given: int) -> tuple[Any, Any, int]:
    """Return processor and profile of a checkpoint with a run's limits, and its image token."""
    config = settings(name, **given)
    processor, profile = load.load_reader(config.model, config, registry=registry.load())
    return processor, profile, load.load_config(config).image_token_id


def drawn(number: int, *, longest: int) -> Iterator[tuple[int, int]]:
    """Yield random sizes, of sides of 16 px to `longest`."""
    rng = random.Random(0)
    for _ in range(number):
        yield rng.randint(16, longest), rng.randint(16, longest)


def seen(name: str, stored: list[tuple[int, int]], **given: int) -> tuple[list, list, int, int]:
    """Return the declared sizes of a prompt's images, those of the grid, tokens said and made."""
    processor, profile, token = reader(name, **given)
    pictures = [boxes.picture_size(size, profile=profile) for size in stored]
    declared = [boxes.input_size(size, profile=profile) for size in stored]
    made = processor(
        text=[question(processor, len(stored))],
        images=[[Image.new("RGB", size) for size in pictures]],
        # what pixels hold is not counted; most of the time would go into it
        resample=Image.Resampling.NEAREST,
        do_rescale=False,
        do_normalize=False,
        return_tensors="np",
    )
    side = getattr(processor.image_processor, "patch_size", 0)
    grid = [(w * side, h * side) for _, h, w in made.get("image_grid_thw", [])]
    tokens = int((made["input_ids"] == token).sum())
    return declared, grid, visual_tokens(pictures, profile=profile), tokens


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("qwen3_vl", 40),
        *(pytest.param(name, SIZES, marks=pytest.mark.families) for name in GRIDS),
    ],
)
def test_images_are_seen_at_the_declared_size(name: str, number: int) -> None:
    rng = random.Random(1)
    bounds = [(3136, 60_000), (50_176, 50_176), (20_000, 24_000)]
    for size in drawn(number, longest=700):
        low, high = rng.choice(bounds)
        declared, grid, said, made = seen(name, [size], min_pixels=low, max_pixels=high)
        assert (declared, said) == (grid, made), size


@pytest.mark.parametrize(
    ("name", "number", "limits"),
    [
        ("internvl3_5", 20, LIMITS),
        *(
            pytest.param(name, SIZES, given, marks=pytest.mark.families)
            for name, given in {
                "internvl3": LIMITS,
                "gemma3": LIMITS[:1],  # it has no limits, nor has LLaVA-OneVision
                "gemma4": LIMITS,
                "llava_onevision": LIMITS[:1],
                "minicpmv4_6": LIMITS,
                "smolvlm2": LIMITS,
                "idefics3": LIMITS,
            }.items()
        ),
    ],
)
def test_tokens_said_are_tokens_made(name: str, number: int, limits: list[dict[str, int]]) -> None:
    rng = random.Random(1)
    for size in drawn(number, longest=900):
        given = rng.choice(limits)
        _, _, said, made = seen(name, [size], **given)
        assert said == made, (size, given)


@pytest.mark.parametrize("name", CHATS)
def test_two_images_are_as_many_tokens_as_said(name: str) -> None:
    for size in ((512, 512), (300, 700)):
        _, _, said, made = seen(name, [size, (400, 400)])
        assert said == made, size


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("internvl3_5", (1024, 1024), (1344, 1344)),  # 9 tiles of 448 px
        ("internvl3_5", (1000, 400), (2240, 896)),  # 5 x 2 tiles
        pytest.param("gemma3", (640, 480), (896, 896), marks=pytest.mark.families),
        pytest.param("gemma4", (600, 400), (960, 624), marks=pytest.mark.families),
        pytest.param("smolvlm2", (600, 400), (2048, 1536), marks=pytest.mark.families),
    ],
)
def test_the_seen_size_is_that_of_the_processor(
    name: str, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    _, profile, _ = reader(name)
    assert boxes.input_size(size, profile=profile) == expected


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("internvl3_5", "max_patches", 4),  # 1,000,000 px hold 4.98 tiles of 448 x 448
        pytest.param("gemma4", "max_soft_tokens", 280, marks=pytest.mark.families),
        pytest.param("minicpmv4_6", "max_slice_nums", 4, marks=pytest.mark.families),
    ],
)
def test_a_run_limits_pixels_by_the_key_of_the_processor(name: str, key: str, value: int) -> None:
    processor, profile, _ = reader(name, max_pixels=1_000_000)
    assert getattr(processor.image_processor, key) == value
    assert profile.max_pixels <= 1_000_000


@pytest.mark.families
@pytest.mark.parametrize(("name", "side"), [("smolvlm2", 512), ("idefics3", 728)])
def test_a_run_limits_the_longest_side(name: str, side: int) -> None:
    processor, _, _ = reader(name, max_pixels=1_000_000)
    assert dict(processor.image_processor.size) == {"longest_edge": side}


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("internvl3_5", {"max_pixels": 100_000}),  # below one tile
        ("llava_onevision", {"max_pixels": 1_000_000}),
        pytest.param("gemma3", {"max_pixels": 200_000}, marks=pytest.mark.families),
        pytest.param("gemma4", {"min_pixels": 200_000}, marks=pytest.mark.families),
    ],
)
def test_a_limit_that_a_processor_cannot_keep_is_refused(name: str, limit: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(limit))):
        reader(name, **limit)


@pytest.mark.parametrize("name", CHATS)
def test_the_plan_reads_the_limits_of_the_run(name: str) -> None:
    config, known = settings(name), registry.load()
    facts = models.inspect(config, registry=known)
    if facts.profile.resize == "processor":
        facts = sizes.bound(facts, config)
    _, profile, _ = reader(name)
    assert facts.profile == profile
    size = (1000, 600)
    assert visual_tokens([size], profile=facts.profile) == visual_tokens([size], profile=profile)
    assert boxes.input_size(size, profile=facts.profile) == boxes.input_size(size, profile=profile)


@pytest.mark.parametrize("name", CHATS)
def test_the_profile_states_the_frames_that_limits_count(name: str) -> None:
    processor, profile, _ = reader(name)
    if limits.makes_grid(processor.image_processor):
        assert limits.frames_counted(processor.image_processor) == profile.limit_frames
