"""Patches are those of the stock image processor, and each image is made into them once."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image
from transformers import AutoModelForImageTextToText
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from trl import GRPOConfig

from geovlm import nano
from geovlm.engine.models.processor import load_processor
from geovlm.engine.speedups import patches
from geovlm.engine.speedups.grpo_trainer import GroupTrainer
from geovlm.engine.speedups.patches import CachedImageProcessor


def pictures() -> list[Image.Image]:
    """Three images: two sizes, the third like the first but for one pixel."""
    rng = np.random.default_rng(0)
    one = rng.integers(0, 256, (84, 84, 3), dtype=np.uint8)
    other = one.copy()
    other[40, 40, 1] ^= 1
    wide = rng.integers(0, 256, (56, 140, 3), dtype=np.uint8)
    return [Image.fromarray(each) for each in (one, wide, other)]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of images of every call of the stock processor."""
    counts: list[int] = []
    original = Qwen2VLImageProcessorPil._preprocess

    def counted(self: Any, images: list[Any], *args: Any, **kwargs: Any) -> Any:
        counts.append(len(images))
        return original(self, images, *args, **kwargs)

    monkeypatch.setattr(Qwen2VLImageProcessorPil, "_preprocess", counted)
    return counts


def test_patches_are_those_of_the_stock_processor(made: list[int]) -> None:
    a, b, c = pictures()
    stock = Qwen2VLImageProcessorPil.from_pretrained(nano.path())
    expected = stock(images=[a, b, a, c, b], return_tensors="pt")
    made.clear()
    cached = CachedImageProcessor.from_pretrained(nano.path())
    for images in ([a, b, a, c, b], [[a, b.copy()], [a, c], [b]]):
        found = cached(images=images, return_tensors="pt")
        assert torch.equal(found["pixel_values"], expected["pixel_values"])
        assert torch.equal(found["image_grid_thw"], expected["image_grid_thw"])
    assert made == [1, 1, 1]
    assert cached.made.count == 3


def test_other_settings_make_other_patches() -> None:
    image = pictures()[0]
    cached = CachedImageProcessor.from_pretrained(nano.path())
    whole = cached(images=[image], return_tensors="pt")["image_grid_thw"]
    size = {"shortest_edge": 14 * 14, "longest_edge": 14 * 14}
    small = cached(images=[image], size=size, return_tensors="pt")["image_grid_thw"]
    assert small.tolist() == [[1, 2, 2]]
    assert whole.tolist() == [[1, 12, 12]]
    cached.size = type(cached.size)(**size)
    assert cached(images=[image], return_tensors="pt")["image_grid_thw"].tolist() == [[1, 2, 2]]


def test_what_is_kept_has_a_bound(made: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c = pictures()
    one = 36 * 3 * 2 * 14 * 14 * 4  # patches of 84 x 84 pixels: bytes of float32
    monkeypatch.setattr(patches, "MAX_BYTES", 2 * one)
    cached = CachedImageProcessor.from_pretrained(nano.path())
    cached(images=[a, c], return_tensors="pt")
    cached(images=[a, c], return_tensors="pt")
    assert len(made) == 2
    cached(images=[b, a, c, b], return_tensors="pt")
    assert 3 <= len(made) <= 5  # within a batch none is made twice
    assert cached.made._bytes <= 2 * one


def test_what_is_kept_is_neither_saved_nor_copied(tmp_path: Path) -> None:
    cached = CachedImageProcessor.from_pretrained(nano.path())
    cached(images=pictures(), return_tensors="pt")
    cached.save_pretrained(tmp_path)
    assert "made" not in (tmp_path / "preprocessor_config.json").read_text()
    assert copy.deepcopy(cached).made.count == 0
    assert cached.made.count == 3


def test_a_step_of_grpo_makes_every_image_once(tmp_path: Path, made: list[int]) -> None:
    images = pictures()[:2]
    rows = [{"image": image, "prompt": [{"role": "user", "content": "?"}]} for image in images]
    trainer = GroupTrainer(
        model=AutoModelForImageTextToText.from_pretrained(nano.path(), dtype=torch.float32),
        reward_funcs=[lambda completions, **_: [float(i) for i in range(len(completions))]],
        args=GRPOConfig(
            output_dir=str(tmp_path),
            max_steps=2,
            per_device_train_batch_size=8,
            num_generations=4,
            max_completion_length=4,
            use_cpu=True,
            bf16=False,
            save_strategy="no",
            report_to=[],
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=load_processor(str(nano.path())),
    )
    made.clear()
    trainer.train()
    assert sum(made) == 2  # of two steps on the same two images
