"""Prompts and targets of chat templates whose structure is that of the model families."""

from __future__ import annotations

import copy
import functools
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from geovlm import answers, nano
from geovlm.config.schema import RunConfig
from geovlm.engine.generation import generate
from geovlm.engine.models import load
from geovlm.engine.models.processor import load_processor
from geovlm.engine.rows import rendering, tokens
from geovlm.engine.rows.rendering import Chat, messages, prefill, settle, with_values
from geovlm.engine.rows.rows import Row, dataset
from geovlm.engine.training import arguments, grpo
from geovlm.errors import ConfigError
from geovlm.plugins import registry

IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
PARTS = (
    "{% macro parts(said) %}{% if said is string %}{{ said }}{% else %}{% for part in said %}"
    "{% if part.type == 'image' %}" + IMAGE + "{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}{% endmacro %}"
)
TURNS = (
    PARTS + "{% for turn in messages %}<|im_start|>{{ turn.role }}\n{{ parts(turn.content) }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
)
PLAIN = TURNS + "{% endif %}"
OPENED = TURNS + "<think>\n{% endif %}"
SWITCHED = (
    TURNS + "{% if enable_thinking is defined and enable_thinking is true %}<think>\n"
    "{% else %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""Qwen3.5's small sizes."""
CLOSED = TURNS + "<think>\n\n</think>\n\n{% endif %}"
LITERAL = (
    PARTS + "{% for turn in messages %}{% if turn.role == 'assistant' %}<|assistant|>\n"
    "{{ turn.content }}{% else %}<|user|>\n{{ parts(turn.content) }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
"""GLM-4.1V: prints the parts of an assistant's turn as a list of Python."""
UNENDED = (
    PARTS + "{% for turn in messages %}{% if turn.role == 'assistant' %}<|assistant|>"
    "{% set said = parts(turn.content) %}{{ '\n<think>' ~ said.split('</think>')[0]"
    ".split('<think>')[-1].strip() ~ '</think>\n' ~ said.split('</think>')[-1] }}"
    "{% else %}<|user|>\n{{ parts(turn.content) }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""GLM-4.5V: the next turn's token closes a turn, and answers begin in a new line."""
COLON = (
    "<|begin|>{% for turn in messages %}{{ turn.role | capitalize }}"
    "{% if turn.content[0].type == 'image' %}:{% else %}{{ ': ' }}{% endif %}"
    "{% for part in turn.content %}{% if part.type == 'text' %}{{ part.text }}"
    "{% elif part.type == 'image' %}" + IMAGE + "{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""Idefics3 and SmolVLM2: take lists only, and write BOS."""
GOLD = "<think> Two roofs. </think><answer> 2 </answer>"


@functools.cache
def loaded() -> Any:
    return load_processor(str(nano.path()))


def processor(template: str = PLAIN, **values: Any) -> Any:
    """Return nano's processor with another chat template and the tokens of other families."""
    made = copy.deepcopy(loaded())
    made.tokenizer.add_special_tokens({"bos_token": "<|begin|>"})
    made.tokenizer.add_tokens(["<|user|>", "<|assistant|>"], special_tokens=True)
    made.chat_template = made.tokenizer.chat_template = template
    settle(made, values)
    return made


def ids(made: Any, *names: str) -> list[int]:
    found: list[int] = made.tokenizer.convert_tokens_to_ids(list(names))
    return found


def stops(made: Any) -> list[int]:
    return ids(made, "<|im_end|>", "<|user|>")


def a_row(**changed: Any) -> Row:
    given: dict[str, Any] = {
        "task": "t/a",
        "sample_id": "1",
        "images": ("before", "after"),
        "question": "Where is <|im_end|>?",
        "reasoning": "Two roofs.",
        "answer": "2",
        "image_sizes": ((84, 84),) * 2,
        "input_sizes": ((84, 84),) * 2,
    }
    return Row(**given | changed)


def cache() -> Any:
    return SimpleNamespace(get=lambda reference, size: Image.new("RGB", size))


def collated(made: Any, rows: list[Row]) -> dict[str, Any]:
    """Return what SFT's collator makes of rows."""
    control = tokens.control_tokens(made)
    chat = Chat.of(made, stops=stops(made))
    table = dataset(rows, cache=cache(), tokens=control, chat=chat)
    collate = DataCollatorForVisionLanguageModeling(made, completion_only_loss=True)
    return collate([table[number] for number in range(len(rows))])


FAMILIES = {
    "plain": PLAIN,
    "opened": OPENED,
    "switched": SWITCHED,
    "literal": LITERAL,
    "unended": UNENDED,
    "colon": COLON,
}


@pytest.mark.parametrize("name", FAMILIES)
def test_sft_evaluation_and_grpo_ask_the_same_prompt(name: str) -> None:
    made = processor(FAMILIES[name])
    row = a_row()
    batch = collated(made, [row])
    taught = batch["input_ids"][0][batch["labels"][0] == -100].tolist()
    asked = generate.encode(made, [row], cache=cache())["input_ids"][0].tolist()
    said = dataset([row], cache=cache(), tokens=tokens.control_tokens(made))[0]["prompt"]
    for part in said[0]["content"][:2]:  # as TRL fills the places of the images
        part["image"] = Image.new("RGB", (84, 84))
    sampled = made.apply_chat_template(
        [said], add_generation_prompt=True, tokenize=True, return_dict=True, **grpo.UNPADDED
    )["input_ids"][0]
    assert taught == asked == list(sampled)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_target_is_the_correct_answer_and_ends(name: str) -> None:
    made = processor(FAMILIES[name])
    batch = collated(made, [a_row(), a_row(answer="two hundred and one", reasoning="Many.")])
    target = [number for number in batch["labels"][0].tolist() if number != -100]
    [text] = tokens.texts(made, [target])
    assert (answers.think_text(text), answers.answer_text(text)) == ("Two roofs.", "2")
    assert (answers.has_think(text), answers.has_answer(text)) == (True, True)
    assert [number for number in target if number in stops(made)] == target[-1:]


def test_grpo_gets_prompts_without_padding_from_a_processor_that_pads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = processor()
    monkeypatch.setitem(made.valid_processor_kwargs._defaults, "text_kwargs", {"padding": True})
    said = [messages("Is it?" * n, images=0) for n in (1, 9)]
    given = {"add_generation_prompt": True, "tokenize": True, "return_dict": True}
    padded, alone = (
        [len(ids) for ids in made.apply_chat_template(said, **given, **more)["input_ids"]]
        for more in ({}, grpo.UNPADDED)
    )
    assert padded[0] == padded[1] == alone[1] > alone[0]


def test_reasoning_that_the_template_opens_is_not_written_twice() -> None:
    chat = Chat.of(processor(OPENED))
    assert (chat.prefill, chat.target(GOLD)) == (
        "<think>\n",
        "Two roofs. </think><answer> 2 </answer><|im_end|>",
    )


def test_reasoning_opened_without_white_space_keeps_the_space_of_the_answer() -> None:
    chat = Chat.of(processor(TURNS + "<think>{% endif %}"))
    assert chat.prefill + chat.target(GOLD) == f"{GOLD}<|im_end|>"


def test_thinking_is_on_where_the_template_knows_it() -> None:
    assert prefill(processor(SWITCHED)) == "<think>\n"
    assert prefill(processor(PLAIN)) == ""


def test_a_prompt_that_closes_the_reasoning_is_refused_before_training() -> None:
    with pytest.raises(ConfigError, match=r"no completion can hold reasoning"):
        Chat.of(processor(CLOSED)).require_place()
    switched_off = Chat.of(processor(SWITCHED, enable_thinking=False))
    with pytest.raises(ConfigError, match="no completion can hold reasoning") as found:
        switched_off.require_place()
    assert "leave out chat_template_kwargs.enable_thinking" in str(found.value)


ALONE = "<answer> 2 </answer>"


@pytest.mark.parametrize(
    ("template", "target"),
    [
        (PLAIN, "<answer> 2 </answer>"),
        (OPENED, "\n</think>\n\n<answer> 2 </answer>"),  # behind <think>: an empty thought
        (CLOSED, "<answer> 2 </answer>"),
    ],
    ids=["plain", "opened", "closed"],
)
def test_an_answer_without_reasoning_is_taught_behind_every_prefill(template, target) -> None:
    chat = Chat.of(processor(template))
    chat.require_place(thinks=False)
    assert chat.target(ALONE) == f"{target}<|im_end|>"
    read = chat.prefill + chat.target(ALONE)
    assert answers.well_formed(read.removesuffix("<|im_end|>"), thinks=False)
    assert answers.think_text(read) == ""


def test_an_empty_thought_is_that_of_the_template_without_thinking() -> None:
    opened = Chat.of(processor(SWITCHED))
    switched_off = Chat.of(processor(SWITCHED, enable_thinking=False))
    both = [f"{chat.prefill}{chat.target(ALONE)}" for chat in (opened, switched_off)]
    assert both[0] == both[1]


def test_a_prompt_that_begins_the_answer_is_refused_without_reasoning_too() -> None:
    with pytest.raises(ConfigError, match="ends a prompt in '<answer>'"):
        Chat.of(processor(TURNS + "<answer>{% endif %}")).require_place(thinks=False)


def test_the_instruction_is_no_prefill() -> None:
    made = processor(PLAIN)
    asked = rendering.prompt(made, messages(answers.INSTRUCTION, images=1))
    assert "<think>" in asked
    assert prefill(made) == ""


def test_a_template_that_prints_an_assistants_parts_gets_a_target_without_them() -> None:
    assert Chat.of(processor(LITERAL)).target(GOLD) == f"{GOLD}<|im_end|>"


def test_a_completion_that_ends_in_an_end_token_has_nothing_behind_it() -> None:
    made = processor(LITERAL)
    chat = Chat.of(made, stops=ids(made, "</answer>"))
    assert chat.target(GOLD) == GOLD


def test_the_next_turns_token_ends_a_turn_that_the_template_leaves_open() -> None:
    made = processor(UNENDED)
    assert Chat.of(made, stops=stops(made)).target(GOLD) == f"\n{GOLD}<|user|>"


def test_an_answer_begins_with_the_white_space_of_the_template() -> None:
    assert Chat.of(processor(COLON)).target(GOLD) == f" {GOLD}<|im_end|>"


def test_the_token_that_ends_a_turn_ends_a_completion_everywhere() -> None:
    made = processor(PLAIN.replace("<|im_end|>", "<|user|>"))
    [end, turn] = ids(made, "<|endoftext|>", "<|user|>")
    made.tokenizer.eos_token = "<|endoftext|>"
    assert Chat.of(made, stops=end).stops == (end, turn)
    assert Chat.of(made).target(GOLD) == f"{GOLD}<|user|>"


def test_bos_is_written_once() -> None:
    made = processor(COLON)
    made.tokenizer.add_bos_token = True
    begin = made.tokenizer.bos_token_id
    assert made.tokenizer(COLON[:9])["input_ids"].count(begin) == 2
    settle(made, {})
    assert made.tokenizer(COLON[:9])["input_ids"].count(begin) == 1


@pytest.mark.parametrize(
    "template",
    [
        "{% for turn in messages %}{{ turn.content }}{% endfor %}",
        "{% for turn in messages %}{{ turn.content[-1].text }}{% endfor %}",
        "{% for turn in messages %}{{ raise_exception('text only') }}{% endfor %}",
    ],
    ids=["prints lists", "writes no image", "raises"],
)
def test_a_template_that_takes_no_images_is_refused(template: str) -> None:
    with pytest.raises(ConfigError, match="question about an image"):
        Chat.of(processor(template))


def test_values_of_a_template_stay_with_it_and_yield_to_a_caller() -> None:
    once = with_values(SWITCHED, {})
    assert with_values(once, {}) == once
    made = processor(SWITCHED)
    said = messages("?", images=1)
    closed = made.apply_chat_template(
        said, tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    assert closed.endswith("</think>\n\n")
    assert with_values(PLAIN, {}) == PLAIN


def test_the_default_one_of_several_templates_gets_the_values() -> None:
    made = copy.deepcopy(loaded())
    made.chat_template = {"default": SWITCHED, "tool_use": PLAIN}
    settle(made, {})
    assert prefill(made) == "<think>\n"
    assert made.chat_template["tool_use"] == PLAIN


def test_a_loaded_model_stops_where_a_turn_ends_too(tmp_path: Path) -> None:
    folder = shutil.copytree(nano.path(), tmp_path / "model")
    [end, turn] = ids(loaded(), "<|endoftext|>", "<|im_end|>")
    settings = {"eos_token_id": end, "pad_token_id": end}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    config = RunConfig(model=str(folder), device="cpu")
    made = load.load(str(folder), config, registry=registry.load())
    assert made.model.generation_config.eos_token_id == [end, turn]
    assert made.chat.target(GOLD) == f"{GOLD}<|im_end|>"


def test_a_variable_that_the_template_does_not_know_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"chat_template_kwargs.add_vision_id: .* no such"):
        with_values(PLAIN, {"add_vision_id": True})


def test_a_saved_processor_keeps_the_values_of_its_template(tmp_path: Any) -> None:
    processor(SWITCHED).save_pretrained(tmp_path)
    assert "enable_thinking = true" in (tmp_path / "chat_template.jinja").read_text()


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("grpo", "chat_template_kwargs", {"enable_thinking": False}),
        ("sft", "chat_template_path", "other/model"),
    ],
)
def test_an_argument_with_which_stages_would_ask_different_prompts_is_refused(
    kind: str, key: str, value: Any
) -> None:
    with pytest.raises(ConfigError, match=f"{key}: the stages would ask different prompts"):
        arguments.check(kind, {key: value}, path="stages.0.trainer")


def test_placeholders_are_those_of_processor_and_template() -> None:
    made = processor(PLAIN)
    assert generate.image_tokens(made) == sorted(
        ids(made, "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    )


def test_tags_that_are_special_tokens_are_kept() -> None:
    made = processor(PLAIN)
    made.tokenizer.add_tokens(["</think>"], special_tokens=True)
    written = made.tokenizer(f"{GOLD}<|im_end|>")["input_ids"]
    assert tokens.texts(made, [written]) == [GOLD]


def test_the_tokens_of_a_template_are_counted() -> None:
    made = processor(OPENED)
    row = a_row(question="?", images=("one",), input_sizes=((84, 84),))
    prompt = int(generate.encode(made, [row], cache=cache())["attention_mask"].sum())
    end, question, visual, placeholder = 1, 1, 36, 1
    assert Chat.of(made).template_tokens(1) == prompt + end - question - visual + placeholder
