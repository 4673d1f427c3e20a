"""Control tokens of models in texts: read as letters, and given back by completions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer

from geovlm import answers, nano
from geovlm.api import Turn
from geovlm.config import control_tokens
from geovlm.config.control_tokens import ControlTokens

FAMILIES = {
    "qwen": ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|vision_start|>", "<|image_pad|>"],
    "llava": ["<image>", "<video>", "<s>", "</s>", "<unk>"],
    "gemma": ["<bos>", "<eos>", "<start_of_image>", "<end_of_turn>", "<image_soft_token>"],
    "internvl": ["<img>", "</img>", "<IMG_CONTEXT>", "<|im_end|>"],
    "pixtral": ["[IMG]", "[IMG_BREAK]", "[INST]", "[/INST]", "</s>"],
    "smolvlm": ["<end_of_utterance>", "<fake_token_around_image>", "<row_1_col_1>", "<image>"],
    "glm": ["[gMASK]", "<sop>", "<|user|>", "<|begin_of_image|>", "<|image|>"],
    "fuyu": [" |NEWLINE|", "|SPEAKER|"],
}
"""Special tokens of families, as their tokenizers spell them."""


def tokenizer(family: str) -> Tokenizer:
    """Nano's tokenizer with the special tokens of a family."""
    made = Tokenizer.from_file(str(nano.path() / "tokenizer.json"))
    made.add_special_tokens([AddedToken(each, normalized=False) for each in FAMILIES[family]])
    return made


@pytest.mark.parametrize("family", FAMILIES)
def test_an_escaped_text_holds_no_special_token_and_comes_back_whole(family: str) -> None:
    words = tokenizer(family)
    tokens = ControlTokens(FAMILIES[family])
    special = {n for n, each in words.get_added_tokens_decoder().items() if each.special}
    one, *_, last = FAMILIES[family]
    texts = [f"Is {each} a ship?" for each in FAMILIES[family]]
    texts += [one, one * 3, f"{one}{last}", f"a{last}b", f"<{one}>", f"{one[:-1]}{one}{last[1:]}"]
    escaped = [tokens.escape(text) for text in texts]
    ids = [words.encode(text, add_special_tokens=False).ids for text in escaped]
    assert [text for text, found in zip(texts, ids, strict=True) if special & set(found)] == []
    assert [tokens.escape(text) for text in escaped] == escaped
    assert [tokens.unescape(words.decode(each)) for each in ids] == texts


@pytest.mark.parametrize(
    "text",
    [
        "How many ships are < 5 or > 3?",
        "a <b> c </b> [x] {{ y }} {% z %}",
        "< image >, <image, image>",
        "",
        "é \u202e \u2028 \ufeff",
        "< |im_en d|>",
    ],
)
def test_a_text_without_control_tokens_is_not_changed(text: str) -> None:
    tokens = ControlTokens(["<image>", "<|im_end|>", "[IMG]"])
    assert tokens.escape(text) == text
    assert tokens.unescape(text) == text


def test_tokens_that_overlap_are_all_letters() -> None:
    tokens = ControlTokens(["<a><", "<b>", "><b"])
    assert tokens.escape("<a><b>") == "< a> < b>"


def test_a_model_without_control_tokens_changes_nothing() -> None:
    assert ControlTokens(()).escape("<image>") == "<image>"
    assert ControlTokens(()).unescape("< image>") == "< image>"


def test_the_tags_of_a_completion_stay_tokens() -> None:
    gold = answers.frame(Turn(question="", reasoning="a <|im_end|>", answer="b"))
    tokens = ControlTokens(["<think>", "</think>", "<answer>", "</answer>", "<|im_end|>"])
    assert tokens.escape(gold) == "<think> a < |im_end|> </think><answer> b </answer>"


def test_the_built_in_model_has_the_tokens_of_its_file() -> None:
    assert control_tokens.of_folder(nano.path()).tokens == {
        "<|im_end|>",
        "<|endoftext|>",
        "<|im_start|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
        "<|video_pad|>",
    }


def test_placeholders_and_tokens_of_the_template_are_control_tokens(tmp_path: Path) -> None:
    shutil.copy(nano.path() / "tokenizer.json", tmp_path)
    settings = {"eos_token": {"content": "</s>"}, "pad_token": None, "add_bos_token": False}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_token": "<image>"}))
    words = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    words.add_tokens(["<tool_call>", "<h1>", "\n\n", "assistant"])
    template = "{% if x %}<tool_call>\n\nassistant{% endif %}"
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    found = control_tokens.of_folder(tmp_path, words).tokens
    assert found - control_tokens.of_folder(nano.path()).tokens == {
        "</s>",
        "<image>",
        "<tool_call>",
    }
