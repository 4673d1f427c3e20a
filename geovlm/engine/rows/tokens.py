"""The border between texts of data and tokens of a model; see `geovlm.config.control_tokens`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from geovlm.config.control_tokens import ControlTokens, named


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


def texts(processor: Any, completions: Sequence[Any]) -> list[str]:
    """Return the texts of completions, token ids, without special tokens and escapes."""
    unescape = control_tokens(processor).unescape
    decoded = processor.tokenizer.batch_decode(completions, skip_special_tokens=True)
    return [unescape(text) for text in decoded]
