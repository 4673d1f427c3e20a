"""Prompts and targets of the families: one prompt in all stages, and a target that earns it all."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from transformers import GenerationConfig
from trl.data_utils import apply_chat_template, prepare_multimodal_messages
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from geovlm import answers
from geovlm.engine.generation import generate
from geovlm.engine.models.processor import load_processor
from geovlm.engine.rows import rendering, tokens
from geovlm.engine.rows.rendering import Chat
from geovlm.engine.rows.rows import Row, dataset
from geovlm.engine.training import grpo
from tools.families.checkpoints import CHECKPOINTS

Build = Callable[[str], Path]
QUICK = ("qwen3_vl", "qwen3_5", "internvl3_5")
NAMES = [
    pytest.param(name, marks=[] if name in QUICK else [pytest.mark.families])
    for name in CHECKPOINTS
    if name != "paligemma2"  # no chat model
]
CACHE: Any = SimpleNamespace(get=lambda reference, size: Image.new("RGB", size, (90, 120, 60)))


def row(images: int) -> Row:
    """Return a row with a control token of a family in its question."""
    return Row(
        task="t/a",
        sample_id=str(images),
        images=("tile",) * images,
        question=f"How many <|im_end|> roofs? {answers.INSTRUCTION}",
        reasoning="Two roofs. " * images,
        answer="[12, 400, 13, 401]",
        image_sizes=((224, 224),) * images,
        input_sizes=((224, 224),) * images,
    )


ROWS = [row(1), row(2)]


@functools.lru_cache(maxsize=1)
def loaded(folder: Path) -> Any:
    return load_processor(str(folder))


@pytest.mark.parametrize("name", NAMES)
def test_all_stages_ask_one_prompt_and_the_target_is_the_correct_answer(
    checkpoint: Build, name: str
) -> None:
    processor = loaded(checkpoint(name))
    ends = GenerationConfig.from_pretrained(checkpoint(name)).eos_token_id
    chat, control = Chat.of(processor, stops=ends), tokens.control_tokens(processor)
    taught = dataset(ROWS, cache=CACHE, tokens=control, chat=chat)
    collate = DataCollatorForVisionLanguageModeling(processor, completion_only_loss=True)
    batch = collate([taught[number] for number in (0, 1)])
    asked = generate.encode(processor, ROWS, cache=CACHE)
    trl = [dataset(ROWS, cache=CACHE, tokens=control)[number] for number in (0, 1)]
    said = [prepare_multimodal_messages(each["prompt"], images=each["images"]) for each in trl]
    sampled = processor.apply_chat_template(
        said, add_generation_prompt=True, tokenize=True, return_dict=True, **grpo.UNPADDED
    )
    # the second pass of TRL's GRPO, whose other fields must fit the ids of the first
    texts = [apply_chat_template({"prompt": each}, processor, **grpo.UNPADDED) for each in said]
    scored = processor(
        images=[each["images"] for each in trl],
        text=[each["prompt"] for each in texts],
        padding=True,
        return_tensors="pt",
    )
    for number in (0, 1):
        here = batch["attention_mask"][number] == 1
        labels, ids = batch["labels"][number][here], batch["input_ids"][number][here]
        prompt = ids[labels == -100].tolist()
        for other in (asked, scored):
            real = other["attention_mask"][number] == 1
            assert other["input_ids"][number][real].tolist() == prompt
            assert bool(real[-1])
        assert list(sampled["input_ids"][number]) == prompt
        target = ids[labels != -100].tolist()
        [text] = tokens.texts(processor, [target])
        assert answers.has_think(text)
        assert answers.has_answer(text)
        assert answers.think_text(text) == ROWS[number].reasoning.strip()
        assert answers.answer_text(text) == ROWS[number].answer
        assert [each for each in target if each in chat.stops] == target[-1:]
    for field in ("token_type_ids", "mm_token_type_ids"):
        assert field not in scored or scored[field].shape == scored["input_ids"].shape


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_without_reasoning_is_taught_without_a_thought(
    checkpoint: Build, name: str
) -> None:
    processor = loaded(checkpoint(name))
    ends = GenerationConfig.from_pretrained(checkpoint(name)).eos_token_id
    chat = Chat.of(processor, stops=ends)
    chat.require_place(thinks=False)
    target = chat.target("<answer> 2 </answer>")
    [text] = tokens.texts(processor, [processor.tokenizer(target)["input_ids"]])
    assert answers.well_formed(text, thinks=False)
    assert (answers.answer_text(text), answers.think_text(text)) == ("2", "")


@pytest.mark.parametrize("name", NAMES)
def test_no_token_of_an_image_may_be_written_and_every_token_of_an_answer_may(
    checkpoint: Build, name: str
) -> None:
    processor = loaded(checkpoint(name))
    ends = GenerationConfig.from_pretrained(checkpoint(name)).eos_token_id
    chat = Chat.of(processor, stops=ends)
    never = generate.image_tokens(processor) or []
    target = chat.target("<think> Two roofs. </think><answer> 2 </answer>")
    assert set(never).isdisjoint([*chat.stops, *processor.tokenizer(target)["input_ids"]])
    inputs = processor(
        text=[rendering.prompt(processor, rendering.messages("?", images=1))],
        images=[[Image.new("RGB", (224, 224))]],
        return_tensors="pt",
    )
    assert max(inputs["input_ids"][0].tolist(), key=inputs["input_ids"][0].tolist().count) in never
