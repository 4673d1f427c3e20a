"""Holds completions of broken models, and some made to break a reward."""

from __future__ import annotations

_CONTENTS = (
    "",
    " \n\t ",
    "\0",
    "\ud800",  # a lone surrogate: no UTF-8 encoding
    "\u202e\u200b\ufeff",  # right-to-left override, zero-width space, byte-order mark
    "\N{PILE OF POO}" * 50,
    "٣٤٥ ４５ ²",  # digits that int() or float() may take and that are not ASCII
    "nan",
    "-inf",
    "1e999",
    "[1e999, 0, 1, 1]",
    "[nan, nan, nan, nan]",
    "[-1, -1, 1e308, 1e308]",
    "[٣, ٤, ٥, ٦]",
    "[1, 2, 3]",
    "[1, 2, 3, 4, 5, 6]",
    "[9, 9, 1, 1]",
    '[{"bbox_2d": [1, 2, 3',  # JSON that was cut off
    '{"label": "water", "boxes": [[0, 0, 1, 1]',
    "[" * 5_000,
    "(" * 5_000 + ")" * 5_000,
    "a" * 10_000,
    "yes no " * 1_500,
    "[0, 0, 1, 1], " * 700,
    "9" * 10_000,
    "%s %d {} {0} \\",
    "<script>alert(1)</script>",
    "'; DROP TABLE rewards; --",
)
_WHOLE = (
    "<answer>",
    "</answer>",
    "<answer>a</answer>",
    "<answer> </answer>",
    "<think></think><answer>a</answer>",
    "<think>a</think>",
    "<think>a</think><answer>b",
    "<answer>a</answer><answer>b</answer>",
    "<answer><answer>a</answer></answer>",
    "<think><answer>a</answer></think>",
    "<think>a<answer>b</think>c</answer>",
    "<answer>" * 2_000,
    "<think>" * 500 + "</think>" * 500 + "<answer>x</answer>",
    "</answer>a<answer>",
)

HOSTILE: tuple[str, ...] = (
    *_CONTENTS,
    *(f"<think> x </think><answer>{content}</answer>" for content in _CONTENTS),
    *_WHOLE,
)
"""Each content alone and inside well-formed tags, then tags that are not well-formed."""
