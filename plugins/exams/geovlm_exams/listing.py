"""Takes a question with listed choices apart, and puts it together with other choices.

A `Listing` keeps every character around the choices, so that the question with its own choices is
the published one byte for byte, and with moved choices still has the published form.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_MARK = re.compile(r"(?:^|\n)(?P<mark>\(?[A-Z][.):] ?)")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Listing(NamedTuple):
    """A question around its choices."""

    layout: tuple[str, ...]
    """Text before the first choice, between the choices, and after the last one."""
    choices: tuple[str, ...]
    """At least two."""

    def text(self) -> str:
        """Return the question as it was."""
        return filled(self.layout, self.choices)


def filled(layout: Sequence[str], choices: Sequence[str]) -> str:
    """Return the question with these choices, in this order.

    Example:
        >>> filled(("Where? A.", " B.", ""), ("left", "right"))
        'Where? A.left B.right'
    """
    return (
        "".join(f"{before}{choice}" for before, choice in zip(layout, choices, strict=False))
        + (layout[-1])
    )


def parse(text: str) -> Listing:
    r"""Return the parts of a question whose choices stand on lines of their own.

    A choice begins with its letter and a mark: `A.`, `A. `, `A)`, `(A) `. Letters rise from A on.

    Raises:
        ValueError: the last lines are no such choices, or one of them is empty.

    Example:
        >>> parse("Where?\nA.left\nB.right")
        Listing(layout=('Where?\nA.', '\nB.', ''), choices=('left', 'right'))
    """
    marks = list(_MARK.finditer(text))
    start = next(
        (i for i in reversed(range(len(marks))) if _letter(marks[i]["mark"]) == "A"), len(marks)
    )
    own = marks[start:]
    if len(own) < 2 or [_letter(each["mark"]) for each in own] != list(LETTERS[: len(own)]):
        raise ValueError("its last lines are not choices with the letters A, B, …")
    ends = [*(each.start() for each in own[1:]), len(text)]
    choices = tuple(text[each.end() : end] for each, end in zip(own, ends, strict=True))
    if not all(choice.strip() for choice in choices):
        raise ValueError("a choice is empty")
    heads = (text[: own[0].end()], *(each.group() for each in own[1:]))
    return Listing((*heads, ""), choices)


def lined(question: str, choices: Sequence[str]) -> str:
    """Return a question with its choices below it, one per line: `A. left`."""
    listed = (f"{letter}. {text}" for letter, text in zip(LETTERS, choices, strict=False))
    return "\n".join([question, *listed])


def _letter(mark: str) -> str:
    return mark.strip("( ")[0]
