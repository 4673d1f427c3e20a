"""Finds prompts that do not fit and images that cannot be decoded, before anything trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from geovlm.config.control_tokens import ControlTokens
from geovlm.data.prompts import Prompt
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Row
from geovlm.errors import DataError

IMAGES_DECODED = 128
"""Rows per task and split whose images are decoded before training; `geovlm data check` reads all.
"""
_TEXTS_AT_ONCE = 1024
_CHARS_AT_ONCE = 4 << 20
_PREFIX_TOKENS = 8  # more than any tokenizer puts before a text


def audit_lengths(
    prompts: Iterable[Prompt],
    *,
    task: str,
    instruction: str,
    tokens: ControlTokens,
    count_tokens: Callable[[Sequence[str]], Sequence[int]],
    count_images: Callable[[Prompt], int],
    limit: int,
) -> None:
    """Refuse a prompt that does not fit into the model together with its correct completion.

    Prompts are never truncated, so one that does not fit must be found before training. A token
    stands for at least one character of ASCII text, so a text with fewer characters than the model
    takes tokens needs no tokenizer; each distinct one of the others is tokenized once. The control
    tokens `tokens` of the model are letters.
    `count_images` counts the chat template too.

    Raises:
        DataError: a sample is longer; names the longest one of a thousand.
    """
    spare = max(count_tokens([""])) + _PREFIX_TOKENS
    waiting: dict[str, tuple[int, str]] = {}
    known: set[int] = set()
    held = 0

    def tokenize() -> None:
        worst = max(
            (tokens + images, sample_id)
            for tokens, (images, sample_id) in zip(
                count_tokens(list(waiting)), waiting.values(), strict=True
            )
        )
        if worst[0] > limit:
            raise DataError(
                f"sample {worst[1]!r} of task {task!r} needs {worst[0]} tokens, the model takes "
                f"{limit}",
                hint="leave the record out, shorten the instruction, lower max_pixels, or choose a "
                "model that takes more",
            )
        waiting.clear()

    for prompt in prompts:
        turn = prompt.turn
        key = hash((turn.question, turn.reasoning, turn.answer, prompt.input_sizes))
        if key in known:
            continue
        known.add(key)
        images = count_images(prompt)
        text = tokens.escape(f"{turn.question.strip()} {instruction}{prompt.gold}")
        if text.isascii() and images + len(text) + spare <= limit:
            continue
        waiting[text] = max(waiting.get(text, (0, "")), (images, prompt.sample_id))
        held += len(text)
        if len(waiting) == _TEXTS_AT_ONCE or held >= _CHARS_AT_ONCE:
            tokenize()
            held = 0
    if waiting:
        tokenize()


def audit_images(rows: Sequence[Row], *, cache: ImageCache) -> None:
    """Decode the images of at most `IMAGES_DECODED` rows, spread evenly.

    Sizes come from headers or from the data set's definition, and a file that was cut off has a
    sound header: without this, it would be found in the middle of training.

    Raises:
        DataError: an image cannot be decoded; names the file.
    """
    for row in rows[:: math.ceil(len(rows) / IMAGES_DECODED) or 1]:
        for reference, size in zip(row.images, row.input_sizes, strict=True):
            cache.get(reference, size)
