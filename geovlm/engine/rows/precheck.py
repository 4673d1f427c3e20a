"""Finds prompts that do not fit and images that cannot be decoded, before anything trains."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from geovlm.config.control_tokens import ControlTokens
from geovlm.data.prompts import Prompt
from geovlm.engine.rows.images import ImageCache
from geovlm.engine.rows.rows import Row
from geovlm.errors import DataError

IMAGES_DECODED = 128
"""Rows per task and split whose images are decoded, and whose texts are tokenized, before training;
`geovlm data check` reads all images."""
_TEXTS_AT_ONCE = 1024
_CHARS_AT_ONCE = 4 << 20
_CHARS_PER_TOKEN = 16  # more than a token has in a text of any length
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

    def too_long(sample_id: str, needed: str) -> DataError:
        return DataError(
            f"sample {sample_id!r} of task {task!r} needs {needed} tokens, the model takes {limit}",
            hint="leave the record out, shorten the instruction, lower max_pixels, or choose a "
            "model that takes more",
        )

    def tokenize() -> None:
        worst = max(
            (tokens + images, sample_id)
            for tokens, (images, sample_id) in zip(
                count_tokens(list(waiting)), waiting.values(), strict=True
            )
        )
        if worst[0] > limit:
            raise too_long(worst[1], f"{worst[0]}")
        waiting.clear()

    for prompt in prompts:
        turn = prompt.turn
        key = hash((turn.question, turn.reasoning, turn.answer, prompt.picture_sizes))
        if key in known:
            continue
        known.add(key)
        images = count_images(prompt)
        text = tokens.escape(f"{turn.question.strip()} {instruction}{prompt.gold}")
        beginning = text[: _CHARS_PER_TOKEN * limit]
        if beginning != text:
            least = images + count_tokens([beginning])[0]
            if least > limit:
                raise too_long(prompt.sample_id, f"more than {least}")
        if text.isascii() and images + len(text) + spare <= limit:
            continue
        waiting[text] = max(waiting.get(text, (0, "")), (images, prompt.sample_id))
        held += len(text)
        if len(waiting) == _TEXTS_AT_ONCE or held >= _CHARS_AT_ONCE:
            tokenize()
            held = 0
    if waiting:
        tokenize()


def audit_tokens(rows: Sequence[Row], *, processor: Any) -> None:
    """Tokenize the texts of at most `IMAGES_DECODED` rows, spread evenly, and look for tokens.

    A tokenizer may change a text before it looks for its tokens: this is the one way left in which
    a text becomes a control token.

    Raises:
        DataError: a text becomes a control token of the model; names the sample and the token.
    """
    from geovlm.engine.rows.tokens import control_tokens  # transformers

    control, tokenizer = control_tokens(processor), processor.tokenizer
    known = {
        number: str(each).strip()
        for number, each in tokenizer.added_tokens_decoder.items()
        if str(each).strip() in control.tokens
    }
    for row in _some(rows):
        text = control.escape(f"{row.question} {row.reasoning} {row.answer}")
        for number in tokenizer(text, add_special_tokens=False)["input_ids"]:
            if number in known:
                raise DataError(
                    f"a text of sample {row.sample_id!r} of task {row.task!r} becomes the control "
                    f"token {known[number]!r} of the model",
                    hint="leave the record out, or write the token in another way",
                )


def audit_images(rows: Sequence[Row], *, cache: ImageCache) -> None:
    """Decode the images of at most `IMAGES_DECODED` rows, spread evenly.

    Sizes come from headers or from the data set's definition, and a file that was cut off has a
    sound header: without this, it would be found in the middle of training.

    Raises:
        DataError: an image cannot be decoded; names the file.
    """
    for row in _some(rows):
        for reference, size in zip(row.images, row.picture_sizes, strict=True):
            cache.get(reference, size)


def _some(rows: Sequence[Row]) -> Sequence[Row]:
    return rows[:: math.ceil(len(rows) / IMAGES_DECODED) or 1]
