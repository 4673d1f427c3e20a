"""The inputs that TRL's GRPO passes on to a model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from geovlm.engine.training import inputs
from geovlm.errors import ConfigError

IMAGES = [["first"], ["second"]]
TEXT = {"input_ids": torch.ones(2, 3), "attention_mask": torch.ones(2, 3)}


def processor(**number: torch.Tensor) -> Any:
    """Return one whose image processor takes `crop_to_patches` and gives `number`."""
    return SimpleNamespace(image_processor=lambda images, crop_to_patches, return_tensors: number)


def test_inputs_of_qwen_are_passed_on() -> None:
    made = {
        **TEXT,
        "pixel_values": torch.ones(8, 6),
        "image_grid_thw": torch.tensor([[1, 2, 2], [1, 2, 2]]),
        "mm_token_type_ids": torch.ones(2, 3),
    }
    inputs.check(made, images=IMAGES, processor=None)


def test_an_input_that_trl_has_no_parameter_for_is_named() -> None:
    made = {**TEXT, "pixel_values": torch.ones(2, 3, 4, 4), "batch_num_images": torch.ones(2)}
    with pytest.raises(ConfigError, match="batch_num_images"):
        inputs.check(made, images=IMAGES, processor=None)


def test_one_tile_per_image_needs_no_count() -> None:
    made = {**TEXT, "pixel_values": torch.ones(2, 3, 4, 4)}
    inputs.check(made, images=IMAGES, processor=None)


def test_tiles_that_the_processor_counts_are_passed_on() -> None:
    made = {**TEXT, "pixel_values": torch.ones(5, 3, 4, 4)}
    counts = processor(num_patches=torch.tensor([4, 1]))
    inputs.check(made, images=IMAGES, processor=counts)


def test_tiles_that_nobody_counts_are_refused() -> None:
    made = {**TEXT, "pixel_values": torch.ones(5, 3, 4, 4)}
    with pytest.raises(ConfigError, match="which image"):
        inputs.check(made, images=IMAGES, processor=processor())


def test_a_count_of_other_tiles_is_refused() -> None:
    made = {**TEXT, "pixel_values": torch.ones(5, 3, 4, 4)}
    counts = processor(num_patches=torch.tensor([1, 1]))
    with pytest.raises(ConfigError, match="other tiles"):
        inputs.check(made, images=IMAGES, processor=counts)
