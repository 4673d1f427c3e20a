"""Counts the letters that a measure of words reads, and states where it reads too few of them.

rouge-score counts a to z and 0 to 9 alone. BLEU, CIDEr, METEOR and coco-caption's ROUGE-L take what
stands between blanks as one word. On texts of other scripts such numbers are 0, or compare whole
sentences, or compare the few digits of a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from geovlm import answers
from geovlm.score.protocols.contract import Counts

Reads = Literal["latin", "spaced"]
"""The letters that a measure reads: rouge-score's, or those of scripts with blanks."""

LEAST = 0.5
"""Share of the references' letters that a measure must read; with fewer it is left out."""
UNREAD = 0.01
"""Largest share of letters that goes unread without a word."""
_RULES: dict[Reads, str] = {
    "latin": "reads a to z and 0 to 9 only",
    "spaced": "takes what stands between blanks as one word",
}
_MIXED: dict[Reads, str] = {
    "latin": "ignores all letters but a to z and 0 to 9",
    "spaced": "takes a run of characters without blanks as one word",
}


class Letters(NamedTuple):
    """Numbers of letters and digits."""

    all: int
    latin: int
    """Those that are a to z or 0 to 9 in lower case."""
    spaced: int
    """Those of scripts with blanks between words."""


def apart(text: str) -> str:
    """Return the text with single blanks around each character of a script without blanks."""
    if text.isascii():
        return text
    return " ".join(_unspaced().sub(r" \g<0> ", text).split())


@lru_cache(maxsize=100_000)  # references repeat
def letters(text: str) -> Letters:
    """Return how many letters and digits a text has, and of which kinds."""
    every = [each for each in text.lower() if each.isalnum()]
    if text.isascii():
        return Letters(len(every), len(every), len(every))
    latin = sum(each.isascii() for each in every)
    return Letters(len(every), latin, len(every) - len(_unspaced().findall("".join(every))))


def counts(truths: Sequence[str], answer: str) -> dict[str, float]:
    """Letters of the references and of the answer, and those that each kind of measure reads."""
    found: dict[str, float] = {}
    for side, texts in (("truth", truths), ("answer", (answer,))):
        many = [letters(text) for text in texts]
        found[f"letters:{side}"] = sum(each.all for each in many)
        found[f"latin:{side}"] = sum(each.latin for each in many)
        found[f"spaced:{side}"] = sum(each.spaced for each in many)
    return found


def left_out(total: Counts, reads: Reads, names: Iterable[str]) -> dict[str, str]:
    """Return each score that must be left out -> the reason, which follows "it"."""
    unread = _unread(total, reads, "truth")
    if not total["letters:truth"]:
        return dict.fromkeys(names, "reads words, and the references hold no letter")
    if unread <= 1 - LEAST:
        return {}
    reason = f"{_RULES[reads]}, which fits {1 - unread:.0%} of the references' letters"
    return dict.fromkeys(names, reason)


def notes(total: Counts, reads: Reads, measures: str) -> list[str]:
    """Return a sentence if a measure reads most letters of the references, but not all."""
    truth, answer = (_unread(total, reads, side) for side in ("truth", "answer"))
    if truth > 1 - LEAST or max(truth, answer) <= UNREAD:
        return []
    return [
        f"the published {measures} {_MIXED[reads]}: {truth:.1%} of the references' letters, "
        f"{answer:.1%} of the answers'; the strict one reads them all"
    ]


@lru_cache(maxsize=1)
def _unspaced() -> re.Pattern[str]:
    return re.compile(rf"(?=\w)[{answers.UNSPACED}][{answers.marks()}]*")


def _unread(total: Counts, reads: Reads, side: str) -> float:
    every = total[f"letters:{side}"]
    return 1 - total[f"{reads}:{side}"] / every if every else 0.0
