"""Lets a model read its control tokens in texts of data and users as letters.

A tokenizer finds `<|im_end|>` or `<image>` in any text and makes the token of it: a question with
one would end there, or ask for an image more than there is. So every text gets a space behind the
first character of each control token before it enters a chat template, and loses it again where a
completion becomes text: `< |im_end|>`. Texts without control tokens stay as they are, byte for
byte.

The tokens are those of the model's own files: never a list by name of the family.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TAGS = frozenset({"<think>", "</think>", "<answer>", "</answer>"})
"""Tags of a completion; some families have tokens for them, and a model is to write them."""


class ControlTokens:
    """Control tokens of one model.

    Args:
        special: Tokens that are control tokens wherever they come from: special ones, and the
            placeholders of images and videos.
        added: Other tokens that were added to the vocabulary. Those that the chat template holds
            are control tokens too; words and white space are not.
        template: Chat template.
    """

    def __init__(
        self, special: Iterable[str], *, added: Iterable[str] = (), template: str = ""
    ) -> None:
        marks = {each.strip() for each in added}
        found = {each.strip() for each in special}
        found |= {mark for mark in marks if mark in template and not mark.isalnum()}
        self.tokens = frozenset(each for each in found - TAGS if len(each) > 1)
        """The tokens, without white space around them."""
        by_first: dict[str, list[str]] = {}
        for token in sorted(self.tokens, key=lambda each: (-len(each), each)):
            by_first.setdefault(token[0], []).append(re.escape(token[1:]))
        # each branch begins with a letter of its own, so that `re` skips all others
        rest = {first: f"(?=(?:{'|'.join(many)}))" for first, many in by_first.items()}
        whole = (f"{re.escape(first)}{tails}" for first, tails in rest.items())
        parted = (f"{re.escape(first)} {tails}" for first, tails in rest.items())
        self._whole = re.compile("|".join(whole) or "(?!)")
        self._parted = re.compile("|".join(parted) or "(?!)")

    def escape(self, text: str) -> str:
        """Return the text with every control token as letters; escaping twice changes nothing."""
        return self._whole.sub(r"\g<0> ", text)

    def unescape(self, text: str) -> str:
        """Return an escaped text, or what a model wrote after it, as it was before."""
        return self._parted.sub(lambda match: match.group()[:-1], text)


def of_folder(folder: Path, tokenizer: Tokenizer | None = None) -> ControlTokens:
    """Return the control tokens of a checkpoint folder; `tokenizer` is that of its file."""
    from tokenizers import Tokenizer

    tokenizer = tokenizer or Tokenizer.from_file(str(folder / "tokenizer.json"))
    added = tokenizer.get_added_tokens_decoder().values()
    settings = _json(folder / "tokenizer_config.json")
    return ControlTokens(
        {each.content for each in added if each.special}
        | named(settings)
        | named(_json(folder / "processor_config.json")),
        added=[each.content for each in added],
        template=_template(folder, settings),
    )


def named(settings: Mapping[str, Any]) -> set[str]:
    """Return the tokens that settings name: `eos_token`, `image_token`, `fake_image_token`, …"""
    found: set[str] = set()
    for name, value in settings.items():
        if name.endswith("_token"):
            text = value.get("content") if isinstance(value, Mapping) else value
            found |= {str(text)} if text and not isinstance(text, bool | int) else set()
    return found


def _template(folder: Path, settings: Mapping[str, Any]) -> str:
    """Return the chat templates of a folder, one after another."""
    file = folder / "chat_template.jinja"
    written = file.read_text(encoding="utf-8") if file.is_file() else ""
    older = (_json(folder / "chat_template.json"), settings)
    return "\n".join([written, *(str(each.get("chat_template") or "") for each in older)])


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found
