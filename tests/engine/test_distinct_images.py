"""Equal images pass the vision tower once, and nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForImageTextToText, PreTrainedModel

from geovlm import nano
from geovlm.config.schema import RunConfig
from geovlm.engine.models import load as model
from geovlm.engine.speedups import distinct_images
from geovlm.engine.speedups.patches import CachedImageProcessor
from geovlm.plugins import registry


def a_qwen3() -> PreTrainedModel:
    """A Qwen3-VL of a few thousand weights, whose tower also feeds later layers."""
    torch.manual_seed(0)
    config = transformers.CONFIG_MAPPING["qwen3_vl"](
        text_config={
            "vocab_size": 400,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3]},
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_heads": 2,
            "patch_size": 14,
            "out_hidden_size": 32,
            "deepstack_visual_indexes": [0],
            "num_position_embeddings": 64,
        },
        image_token_id=390,
        vision_start_token_id=391,
        vision_end_token_id=392,
        video_token_id=393,
    )
    return AutoModelForImageTextToText.from_config(config)


def a_nano() -> PreTrainedModel:
    return AutoModelForImageTextToText.from_pretrained(nano.path(), dtype=torch.float32)


def a_batch(model: PreTrainedModel, which: list[list[int]]) -> dict[str, torch.Tensor]:
    """Rows of images out of three: two of one size, one of another."""
    generator = torch.Generator().manual_seed(0)
    grids = [[1, 4, 4], [1, 4, 4], [1, 2, 8]]
    values = 3 * 2 * model.config.vision_config.patch_size**2
    images = [torch.randn(h * w, values, generator=generator) for _, h, w in grids]
    token, start = model.config.image_token_id, model.config.vision_start_token_id
    rows = [[5, *(t for _ in row for t in (start, token, token, token, token)), 7] for row in which]
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "mm_token_type_ids": (ids == token).int(),
        "pixel_values": torch.cat([images[i] for row in which for i in row]),
        "image_grid_thw": torch.tensor([grids[i] for row in which for i in row]),
    }


def share(model: PreTrainedModel) -> None:
    way, *_ = distinct_images.ways(model, model.base_model.visual)
    way.enable()


def towers_input(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the number of images of every call of the vision tower."""
    seen: list[int] = []
    tower: Any = model.base_model.visual
    forward = tower.forward

    def counted(pixels: torch.Tensor, grid_thw: torch.Tensor, **kwargs: Any) -> Any:
        seen.append(len(grid_thw))
        return forward(pixels, grid_thw=grid_thw, **kwargs)

    monkeypatch.setattr(tower, "forward", counted)
    return seen


@pytest.mark.parametrize("build", [a_nano, a_qwen3])
def test_logits_and_gradients_are_those_of_the_ordinary_way(
    build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    vlm = build()
    batch = a_batch(vlm, [[0], [0, 1], [2], [1, 0], [0]])

    def measured() -> tuple[torch.Tensor, torch.Tensor]:
        vlm.zero_grad()
        logits = vlm(**batch).logits
        logits.logsumexp(-1)[batch["attention_mask"] == 1].sum().backward()
        gradients = [p.grad.flatten() for p in vlm.parameters() if p.grad is not None]
        return logits.detach(), torch.cat(gradients)

    seen = towers_input(vlm, monkeypatch)
    logits, gradient = measured()
    share(vlm)
    shared_logits, shared_gradient = measured()
    assert seen == [7, 3]
    # kernels of other batch sizes round differently
    assert torch.allclose(shared_logits, logits, rtol=1e-5, atol=1e-5)
    assert (shared_gradient - gradient).norm() < 1e-5 * gradient.norm()


def test_images_that_differ_in_one_patch_or_in_shape_alone_stay_apart() -> None:
    image = torch.zeros(16, 4)
    other = image.clone()
    other[3, 0], other[4, 0] = 1.0, -1.0  # the same sum
    pixels = torch.cat([image, other, image, image])
    grids = torch.tensor([[1, 4, 4], [1, 4, 4], [1, 4, 4], [1, 2, 8]])
    images = list(zip(grids.split(1), pixels.split(16), strict=True))
    assert distinct_images.distinct(images) == ([0, 1, 3], [0, 1, 0, 2])


def test_batches_without_repetition_go_through_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vlm = a_nano()
    share(vlm)
    batch = a_batch(vlm, [[0], [1], [2]])
    given: list[torch.Tensor] = []
    tower: Any = vlm.base_model.visual
    forward = tower.forward
    monkeypatch.setattr(
        tower, "forward", lambda pixels, **kwargs: given.append(pixels) or forward(pixels, **kwargs)
    )
    vlm(**batch)
    assert given[0] is batch["pixel_values"]


@pytest.mark.parametrize("shared", [True, False])
def test_a_run_chooses(shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    config = RunConfig(device="cpu", share_images=shared)
    loaded = model.load(str(nano.path()), config, registry=registry.load())
    seen = towers_input(loaded.model, monkeypatch)
    loaded.model(**a_batch(loaded.model, [[0], [0], [1]]))
    assert seen == [2 if shared else 3]
    keeps = isinstance(loaded.processor.image_processor, CachedImageProcessor)
    assert keeps == shared
