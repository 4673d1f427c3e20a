"""Speed-ups of a vision tower are enabled where they change nothing, found by trying."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers import AutoModelForImageTextToText, PreTrainedModel
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from geovlm.engine.speedups import shared_prompt, trial
from tests.engine.test_distinct_images import a_nano, a_qwen3

TEXT = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
TOWER = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 14,
}
SQUARE = {"height": 56, "width": 56}
FAMILIES: dict[str, tuple[dict[str, Any], Any]] = {
    "internvl": (
        {
            "text_config": {"model_type": "qwen2", **TEXT},
            "vision_config": {**TOWER, "image_size": [56, 56], "patch_size": [14, 14]},
            "image_token_id": 390,
        },
        GotOcr2ImageProcessorPil(size=SQUARE, crop_to_patches=True),
    ),
    "gemma3": (
        {
            "text_config": TEXT,
            "vision_config": {**TOWER, "image_size": 56},
            "mm_tokens_per_image": 4,
            "image_token_index": 390,
        },
        Gemma3ImageProcessorPil(size=SQUARE),
    ),
    "gemma4": (
        {
            "text_config": {**TEXT, "global_head_dim": 16, "hidden_size_per_layer_input": 0},
            "vision_config": {
                **TOWER,
                "head_dim": 16,
                "num_key_value_heads": 2,
                "pooling_kernel_size": 2,
            },
            "image_token_id": 390,
        },
        Gemma4ImageProcessorPil(patch_size=14, max_soft_tokens=70, pooling_kernel_size=2),
    ),
    "llava_onevision": (
        {
            "text_config": {"model_type": "qwen2", **TEXT},
            "vision_config": {"model_type": "siglip_vision_model", **TOWER, "image_size": 56},
            "image_token_index": 390,
            "image_grid_pinpoints": [[56, 112], [112, 56], [112, 112]],
        },
        LlavaOnevisionImageProcessorPil(
            size=SQUARE, image_grid_pinpoints=[[56, 112], [112, 56], [112, 112]]
        ),
    ),
    "idefics3": (
        {
            "text_config": {"model_type": "llama", **TEXT},
            "vision_config": {**TOWER, "image_size": 56},
            "scale_factor": 2,
            "image_token_id": 390,
        },
        Idefics3ImageProcessorPil(size={"longest_edge": 112}, max_image_size={"longest_edge": 56}),
    ),
}


def a_model(family: str) -> tuple[PreTrainedModel, Any]:
    torch.manual_seed(0)
    settings, images = FAMILIES[family]
    model = AutoModelForImageTextToText.from_config(
        transformers.CONFIG_MAPPING[family](**settings), dtype=torch.float32
    )
    for weight in model.parameters():
        if not weight.any():  # Gemma 3 begins with a projection of zeros
            torch.nn.init.normal_(weight, std=0.1)
    return model.eval(), SimpleNamespace(image_processor=images)


def a_qwen(build: Callable[[], PreTrainedModel]) -> tuple[PreTrainedModel, Any]:
    size = {"shortest_edge": 28 * 28, "longest_edge": 560 * 560}
    model = build()
    patch = model.config.vision_config.patch_size
    images = Qwen2VLImageProcessorPil(size=size, patch_size=patch)
    return model, SimpleNamespace(image_processor=images)


def tower_of(model: Any) -> PreTrainedModel:
    config = model.config.vision_config
    return next(each for each in model.modules() if getattr(each, "config", None) is config)


def found(model: PreTrainedModel, processor: Any, *, share_images: bool = True) -> trial.Speedups:
    return trial.find(model, processor, tower=tower_of(model), side=28, share_images=share_images)


def entries(tower: Any) -> list[int]:
    """Return a list that gets the images or tiles of every pass through a tower's embeddings."""
    seen: list[int] = []
    tower.embeddings.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(len(args[0] if args else kwargs["pixel_values"])),
        with_kwargs=True,
    )
    return seen


@pytest.mark.parametrize("family", FAMILIES)
def test_features_and_gradients_of_tiles_are_those_of_the_ordinary_way(family: str) -> None:
    model, processor = a_model(family)
    fields = trial._images(model, processor, side=28)

    def measured() -> tuple[list[Tensor], Tensor]:
        model.zero_grad()
        features = model.base_model.get_image_features(**fields).pooler_output
        parts = list(features)
        sum(((i + 1) * part.square().sum() for i, part in enumerate(parts))).backward()
        tower = [p.grad.flatten() for p in tower_of(model).parameters() if p.grad is not None]
        return [part.detach() for part in parts], torch.cat(tower)

    features, gradient = measured()
    assert found(model, processor) == trial.Speedups(False, 0 if family != "gemma4" else 1)
    shared_features, shared_gradient = measured()
    for one, other in zip(shared_features, features, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)
    assert (shared_gradient - gradient).norm() < 1e-5 * gradient.norm()
    assert gradient.norm() > 0


def test_every_tile_passes_the_tower_once() -> None:
    model, processor = a_model("internvl")
    fields = trial._images(model, processor, side=28)
    found(model, processor)
    seen = entries(tower_of(model))
    model.base_model.get_image_features(**fields)
    # 112 x 112 px: four tiles and the whole image; 168 x 112 px: six and the whole, and as its
    # rows of pixels are equal, so are its two rows of tiles
    assert len(fields["pixel_values"]) == 5 + 7 + 5
    assert seen == [5 + 4]


@pytest.mark.parametrize("build", [a_nano, a_qwen3])
def test_qwen_shares_images_and_batches_windows(build: Callable[[], PreTrainedModel]) -> None:
    model, processor = a_qwen(build)
    assert found(model, processor) == trial.Speedups(True, 0)
    assert found(*a_qwen(build), share_images=False) == trial.Speedups(True, None)


def test_a_tower_that_mixes_the_images_of_a_batch_shares_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, processor = a_model("gemma3")
    embeddings: Any = tower_of(model).embeddings
    ordinary = embeddings.forward
    monkeypatch.setattr(
        embeddings, "forward", lambda pixels, **_: ordinary(pixels) + 0.1 * ordinary(pixels).mean(0)
    )
    why = "the features of an image depend on the other images of its batch"
    assert found(model, processor).notes == (f"share_images is not used: {why}",)
    assert "forward" not in vars(tower_of(model))
    assert "get_image_features" not in vars(model.base_model)


def test_a_tower_with_batch_normalization_shares_none() -> None:
    model, processor = a_model("gemma3")
    tower_of(model).extra = torch.nn.BatchNorm2d(3)
    (note,) = found(model, processor).notes
    assert note == "share_images is not used: batch normalization mixes the images of a batch"


def test_windows_stay_apart_where_a_layer_attends_in_its_own_way() -> None:
    model, processor = a_qwen(a_nano)
    tower: Any = tower_of(model)
    kind = type(tower.blocks[0].attn)

    class Own(kind):  # type: ignore[misc, valid-type]  # a class found at run time
        def forward(self, hidden_states: Tensor, cu_seqlens: Tensor, **_: Any) -> Tensor:
            ends = cu_seqlens[1:-1].tolist()
            parts = hidden_states.tensor_split(ends)
            return torch.cat([part.cumsum(0) / len(part) for part in parts])

    for block in tower.blocks:
        block.attn.__class__ = Own
    speedups = found(model, processor)
    assert not speedups.windows
    assert speedups.images == 0
    assert speedups.notes[0].startswith("windows of images do not attend in batches: ")
    assert tower.config._attn_implementation == "sdpa"
    assert "forward" not in vars(tower.blocks[0].attn)


def test_a_family_whose_images_cannot_be_tried_takes_the_ordinary_way() -> None:
    model, _ = a_qwen(a_nano)
    speedups = found(model, SimpleNamespace(image_processor=FAMILIES["gemma3"][1]))
    assert (speedups.windows, speedups.images) == (False, None)
    assert "images of this family cannot be tried" in speedups.notes[0]


def test_the_reference_model_gets_the_same() -> None:
    model, processor = a_qwen(a_nano)
    other = a_nano()
    trial.repeat(found(model, processor), other, tower=tower_of(other))
    assert "get_image_features" in vars(other.base_model)
    assert tower_of(other).config._attn_implementation == "sdpa_equal_lengths"


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (transformers.Qwen2_5_VLConfig(), ""),
        (transformers.Qwen3VLConfig(), ""),
        (
            transformers.Qwen3_5Config(),
            "24 of its 32 layers do not see all tokens before (linear_attention)",
        ),
        (
            transformers.Gemma3Config(),
            "22 of its 26 layers do not see all tokens before (sliding_attention)",
        ),
        (
            transformers.Mistral3Config(text_config={"model_type": "mistral"}),
            "its layers see 4096 tokens before, not all",
        ),
    ],
)
def test_prompts_are_shared_where_every_layer_sees_all_tokens(config: Any, why: str) -> None:
    config.get_text_config()._attn_implementation = "sdpa"
    assert shared_prompt.refusal(SimpleNamespace(config=config)) == why


def test_completions_of_a_decoder_that_carries_a_state_are_not_packed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = a_qwen3()
    assert trial.prompts(model) == ""
    layer: Any = model.base_model.language_model.layers[0].mlp
    ordinary = layer.forward
    monkeypatch.setattr(layer, "forward", lambda hidden: ordinary(hidden).cumsum(1))
    assert trial.prompts(model) == "in one row its completions are not those of rows of their own"


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("eager", ""),
        ("flash_attention_2", "its attention (flash_attention_2) takes no mask per pair of tokens"),
        ("flex_attention", "its attention (flex_attention) takes no mask per pair of tokens"),
    ],
)
def test_attention_without_masks_takes_the_ordinary_way(kind: str, why: str) -> None:
    model = a_qwen3()
    model.config.get_text_config()._attn_implementation = kind
    assert trial.prompts(model) == why


def test_a_model_in_training_stays_so() -> None:
    model = a_qwen3().train()
    trial.prompts(model)
    assert model.training
    assert model.base_model.language_model.training
