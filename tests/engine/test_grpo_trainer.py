"""Results computed once per group, or in parts, equal those of `GRPOTrainer`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image
from trl import GRPOConfig, GRPOTrainer

from geovlm import nano
from geovlm.engine.models.processor import load_processor
from geovlm.engine.speedups import grpo_trainer, shared_prompt, trial
from geovlm.engine.speedups.grpo_trainer import GroupTrainer
from geovlm.errors import ConfigError

LENGTHS = [5, 1, 9, 4, 7, 3, 2, 6]
"""Tokens of the completions of the batch."""


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> GroupTrainer:
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(nano.path(), dtype=torch.float32)
    return GroupTrainer(
        model=model,
        reward_funcs=[lambda completions, **_: [0.0] * len(completions)],
        args=GRPOConfig(
            output_dir=str(tmp_path_factory.mktemp("out")),
            per_device_train_batch_size=8,
            num_generations=8,
            use_cpu=True,
            bf16=False,
            report_to=[],
            temperature=0.9,
        ),
        train_dataset=Dataset.from_list([{"prompt": "?"}]),
        processing_class=load_processor(str(nano.path())),
    )


def a_batch(trainer: GRPOTrainer, which: list[int]) -> dict[str, Any]:
    """Rows that ask one of four prompts each: two of them differ in their images alone."""
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (84, 84, 3), dtype=np.uint8)) for _ in range(4)]
    asked = [
        ([images[0]], "How many buildings?"),
        ([images[1]], "How many buildings?"),
        ([images[0], images[2]], "What has changed between these two images?"),
        ([images[3]], "Is there water?"),
    ]
    messages = [
        [
            {
                "role": "user",
                "content": [
                    *({"type": "image"} for _ in asked[i][0]),
                    {"type": "text", "text": asked[i][1]},
                ],
            }
        ]
        for i in which
    ]
    processor = trainer.processing_class
    inputs = processor(
        images=[asked[i][0] for i in which],
        text=[
            processor.apply_chat_template(each, tokenize=False, add_generation_prompt=True)
            for each in messages
        ],
        padding=True,
        padding_side="left",
        return_tensors="pt",
    )
    longest = max(LENGTHS[: len(which)])
    generator = torch.Generator().manual_seed(0)
    completion = torch.randint(20, 200, (len(which), longest), generator=generator)
    kept = torch.arange(longest) < torch.tensor(LENGTHS[: len(which)])[:, None]
    return {
        "input_ids": torch.cat([inputs["input_ids"], completion * kept], dim=1),
        "attention_mask": torch.cat([inputs["attention_mask"], kept.long()], dim=1),
        "logits_to_keep": longest,
        "pixel_values": inputs["pixel_values"],
        "image_grid_thw": inputs["image_grid_thw"],
        "num_images": [len(asked[i][0]) for i in which],
        "mm_token_type_ids": torch.cat(
            [inputs["mm_token_type_ids"], torch.zeros_like(completion)], dim=1
        ),
    }


def measured(trainer: GRPOTrainer, cls: type, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return log-probabilities, entropies and the gradient of a weighted sum of the first."""
    trainer.model.zero_grad()
    logps, entropies, _ = cls._get_per_token_logps_and_entropies(
        trainer, trainer.model, **batch, compute_entropy=True
    )
    weights = torch.linspace(-1, 1, logps.numel(), device=logps.device).view_as(logps)
    (logps * weights).sum().backward()
    gradient = torch.cat(
        [p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]
    )
    return {"logps": logps.detach(), "entropies": entropies, "gradient": gradient}


@pytest.mark.parametrize(
    "which",
    [
        [0, 0, 0, 0, 0, 0, 0, 0],  # one group
        [0, 0, 1, 1, 1, 2, 2, 2],  # the same words about another image
        [0, 3, 2, 0, 2, 1, 0, 2],  # shuffled
    ],
)
@pytest.mark.parametrize("batch_size", [None, 4])
def test_log_probabilities_and_gradients_are_those_of_trl(
    trainer: GroupTrainer, which: list[int], batch_size: int | None
) -> None:
    batch = a_batch(trainer, which) | {"batch_size": batch_size}
    plain = measured(trainer, GRPOTrainer, batch)
    shared = measured(trainer, GroupTrainer, batch)
    for name, value in plain.items():
        error = (shared[name] - value).abs().max() / value.abs().max()
        assert error < 1e-5, name
    assert plain["gradient"].abs().max() > 0.1


def test_the_vision_tower_sees_every_image_once(
    trainer: GroupTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    tower = trainer.model.model.visual
    forward = tower.forward

    def counted(pixels: torch.Tensor, grid_thw: torch.Tensor, **kwargs: Any) -> Any:
        seen.append(len(grid_thw))
        return forward(pixels, grid_thw=grid_thw, **kwargs)

    monkeypatch.setattr(tower, "forward", counted)
    batch = a_batch(trainer, [0, 0, 1, 1, 1, 2, 2, 2])
    measured(trainer, GroupTrainer, batch)
    measured(trainer, GRPOTrainer, batch)
    assert seen == [1 + 1 + 2, 2 + 3 + 2 * 3]


def test_prompts_that_do_not_repeat_take_the_ordinary_way(
    trainer: GroupTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpo_trainer, "pack", None)
    batch = a_batch(trainer, [0, 1, 2, 3])
    plain = measured(trainer, GRPOTrainer, batch)
    shared = measured(trainer, GroupTrainer, batch)
    assert torch.equal(plain["logps"], shared["logps"])


def test_attention_without_masks_takes_the_ordinary_way(
    trainer: GroupTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_prompt, "_MASKED", ())
    assert "attention (sdpa) takes no mask per pair" in trial.prompts(trainer.model)


def test_a_completion_that_is_masked_out_scores_nothing(trainer: GroupTrainer) -> None:
    batch = a_batch(trainer, [0, 0, 0, 3])
    batch["attention_mask"][1, -batch["logits_to_keep"] :] = 0
    plain = measured(trainer, GRPOTrainer, batch)
    shared = measured(trainer, GroupTrainer, batch)
    assert shared["logps"][1].abs().max() == 0
    assert torch.allclose(plain["logps"], shared["logps"], atol=1e-5)


def test_answers_in_parts_come_back_in_order(
    trainer: GroupTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def echo(
        self: GRPOTrainer, prompt_ids: Any, images: Any, fields: Any, *_: Any
    ) -> tuple[list[list[int]], None]:
        """Answer with the sizes of what came for each prompt, and the shade of its last image."""
        asked.append(len(prompt_ids))
        patches = [int(grid.prod()) for grid in fields["image_grid_thw"]]
        assert sum(patches) == len(fields["pixel_values"])
        shades = [each.mean() for each in torch.as_tensor(fields["pixel_values"]).split(patches)]
        last = np.cumsum([len(each) for each in images]) - 1
        return [
            [len(ids), len(kinds), round(100 * float(shades[place]))]
            for ids, kinds, place in zip(prompt_ids, fields["mm_token_type_ids"], last, strict=True)
        ], None

    monkeypatch.setattr(GRPOTrainer, "_generate_single_turn", echo)
    prompts = [
        [
            {
                "role": "user",
                "content": [
                    *({"type": "image", "image": Image.new("RGB", (84, 84), (40 * i,) * 3)},) * n,
                    {"type": "text", "text": "How many? " * words},
                ],
            }
        ]
        for i, (n, words) in enumerate([(1, 1), (2, 9), (1, 4), (2, 1), (1, 7)])
    ]
    tokenized = trainer._tokenize_prompts(prompts)
    whole, _ = trainer._generate_single_turn(*tokenized, 1)
    monkeypatch.setattr(trainer, "_rows_per_generation", 2)
    parts, logps = trainer._generate_single_turn(*tokenized, 1)
    assert asked == [5, 2, 2, 1]
    assert parts == whole
    assert len({shade for _, _, shade in whole}) == 5
    assert logps is None


def test_fields_that_cannot_be_divided_are_named(trainer: GroupTrainer) -> None:
    fields = {"pixel_values": np.zeros((7, 3))}
    with pytest.raises(ConfigError, match="pixel_values has 7 entries for 3 images of 2 prompts"):
        grpo_trainer._by_row(fields, [["a"], ["b", "c"]], n_rows=2)


def test_tiles_are_divided_by_the_image_tokens_of_their_rows() -> None:
    # as InternVL: images of two tiles, and of one and four
    fields = {"pixel_values": torch.arange(7)[:, None]}
    images = [["a"], ["b", "c"]]
    parts = grpo_trainer._by_row(fields, images, n_rows=2, n_tokens=[2 * 256, 5 * 256])
    assert [part["pixel_values"].flatten().tolist() for part in parts] == [[0, 1], [2, 3, 4, 5, 6]]
    with pytest.raises(ConfigError, match="cannot be answered in parts"):
        grpo_trainer._by_row(fields, images, n_rows=2, n_tokens=[100, 256])


@pytest.mark.parametrize("size", [None, 4])
def test_a_prompt_is_read_once_and_answered_as_by_trl(
    trainer: GroupTrainer, monkeypatch: pytest.MonkeyPatch, size: int | None
) -> None:
    read: list[int] = []
    decoder = trainer.model.model.language_model
    forward = decoder.forward

    def counted(**kwargs: Any) -> Any:
        rows, tokens = kwargs["inputs_embeds"].shape[:2]
        read.extend([rows] if tokens > 1 else [])
        return forward(**kwargs)

    monkeypatch.setattr(decoder, "forward", counted)
    monkeypatch.setattr(trainer.generation_config, "max_new_tokens", 4)
    monkeypatch.setattr(trainer.generation_config, "temperature", 4.0)  # else nano is too sure
    monkeypatch.setattr(trainer, "_rows_per_generation", size)
    asked = [([1, 2], "Has it changed?")] * 3 + [([3], "How many?")] * 3 + [([4], "How many?")] * 2
    prompts = [
        [
            {
                "role": "user",
                "content": [
                    *(
                        {"type": "image", "image": Image.new("RGB", (84, 84), (40 * i,) * 3)}
                        for i in of
                    ),
                    {"type": "text", "text": words},
                ],
            }
        ]
        for of, words in asked
    ]
    tokenized = trainer._tokenize_prompts(prompts)
    torch.manual_seed(0)
    shared, logps = trainer._generate_single_turn(*tokenized, 8)
    monkeypatch.setattr(trainer, "_share_prompt", False)
    torch.manual_seed(0)
    plain, _ = trainer._generate_single_turn(*tokenized, 8)
    assert shared == plain
    assert len({tuple(ids) for ids in plain}) > 2  # they are sampled
    assert read == ([3, 8] if size is None else [2, 2, 4, 4])
    assert logps is None
