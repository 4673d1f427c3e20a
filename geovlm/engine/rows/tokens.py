"""The border between texts of data and tokens of a model; see `geovlm.config.control_tokens`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from geovlm.config.control_tokens import TAGS, ControlTokens, named
from geovlm.engine.rows import rendering


def control_tokens(processor: Any) -> ControlTokens:
    """Return the control tokens of a loaded processor and its tokenizer."""
    tokenizer = processor.tokenizer
    added = tokenizer.added_tokens_decoder.values()
    return ControlTokens(
        {each.content for each in added if each.special}
        | set(tokenizer.all_special_tokens)
        | named(vars(processor)),
        added=[each.content for each in added],
        template=str(processor.chat_template or ""),
    )


def placeholders(processor: Any) -> set[str]:
    """Return the tokens that processor and tokenizer name for images, videos and sounds."""
    roles = PreTrainedTokenizerBase.SPECIAL_TOKENS_ATTRIBUTES  # of texts: bos_token, …
    found: set[str] = set()
    for settings in (processor.tokenizer.special_tokens_map, vars(processor)):
        found |= named({name: each for name, each in settings.items() if name not in roles})
    return found


def texts(processor: Any, completions: Sequence[Any]) -> list[str]:
    """Return the texts of completions, token ids, without special tokens and escapes.

    The beginning of the answer that the chat template writes into the prompt belongs to each.
    """
    unescape = control_tokens(processor).unescape
    begun = rendering.prefill(processor) if processor.chat_template else ""
    tokenizer = processor.tokenizer
    added = tokenizer.added_tokens_decoder
    hidden = {number for number, each in added.items() if each.special} | {
        *tokenizer.all_special_ids
    }
    hidden -= {number for number, each in added.items() if each.content in TAGS}
    kept = [[number for number in map(int, ids) if number not in hidden] for ids in completions]
    return [begun + unescape(text) for text in tokenizer.batch_decode(kept)]


def lengths(processor: Any, completions: Sequence[str]) -> list[int]:
    """Return the number of tokens that a model wrote for each text of `texts`, without its end.

    The beginning of the answer that the chat template writes does not count.
    """
    begun = rendering.prefill(processor) if processor.chat_template else ""
    written = [text.removeprefix(begun) for text in completions]
    if not written:
        return []
    return [len(ids) for ids in processor.tokenizer(written, add_special_tokens=False)["input_ids"]]
