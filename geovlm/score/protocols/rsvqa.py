"""Scores answers as RSVQA does: accuracy per type of question, AA and OA, numbers in classes.

Rule: syvlo/RSVQA, VQA_model/VocabEncoder.py and train.py; Lobry et al., IEEE TGRS 2020,
doi 10.1109/TGRS.2020.2988782. Low resolution: counts become `0`, `between 0 and 10` (1 to 10),
`between 10 and 100`, `between 100 and 1000`, `more than 1000`. High resolution: counts stay
numbers, areas become such classes with the unit m2. Answers are put into the same classes, because
a model that writes 47 has answered as well as one that writes the class.

RSVQAxBEN (Lobry et al., IGARSS 2021) has no numbers: an answer is right as a whole or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from geovlm import answers
from geovlm.score.protocols import values
from geovlm.score.protocols.contract import Counts, Protocol, Record, Scores, groups, share
from geovlm.score.protocols.text import words

Resolution = Literal["lr", "hr", "xben"]

_LIMITS = (0, 10, 100, 1000)
_AMOUNT = re.compile(r"(\d+|\d{1,3}(?:,\d{3})+)(?:\.0+)?\s*(m2|m²)?")
_CLASSED: dict[Resolution, tuple[str, str]] = {
    "lr": ("count", ""),
    "hr": ("area", "m2"),
    "xben": ("", ""),
}
"""The type whose answers become classes, and its unit; empty where there is none."""


class Question(NamedTuple):
    """An answer and its truth, as written and in classes."""

    kind: str
    answer: str
    truth: str
    answer_class: str
    truth_class: str


def number_class(amount: str, *, unit: str = "") -> str:
    """Return the official class of a number such as `47` or `9658m2`; other text is normalised.

    Digits of any script are read, commas between groups of three, and a fraction of zeros; a class
    is its own class.
    """
    plain = answers.normalise(amount)
    found = _AMOUNT.fullmatch(plain)
    if found is None:
        return plain
    above = sum(_exceeds(found[1].replace(",", ""), limit) for limit in _LIMITS)
    if above == 0:
        return f"0{unit}"
    if above == len(_LIMITS):
        return f"more than 1000{unit}"
    return f"between {_LIMITS[above - 1]}{unit} and {_LIMITS[above]}{unit}"


def _exceeds(digits: str, limit: int) -> bool:
    bare = digits.lstrip("0") or "0"  # int() refuses more than 4,300 digits
    return len(bare) > 4 or int(bare) > limit


def _read(record: Record, answer: str, *, resolution: Resolution) -> Question:
    kind = values.text(record.target(), "type") if record.own else record.text("vqa_type")
    truth = record.text("answer" if record.own else "annotation")
    classed, unit = _CLASSED[resolution]
    if kind != classed:
        return Question(kind, answer, truth, answer, truth)
    question = Question(
        kind, answer, truth, number_class(answer, unit=unit), number_class(truth, unit=unit)
    )
    if not any(digit.isdigit() for digit in question.truth):
        raise values.UnreadableError(f"truth of a question of type {kind!r} is not a number")
    return question


def _tally(cases: Sequence[Question]) -> Iterator[Counts]:
    for case in cases:
        counts: dict[str, Any] = {
            f"n:{case.kind}": 1,
            f"right:{case.kind}": words.exact(case.truth_class, case.answer_class),
            f"exact:{case.kind}": words.exact(case.truth, case.answer),
        }
        if case.kind in ("count", "area"):
            name = f"{case.kind}/{case.truth_class}"
            counts[f"class:{name}"] = 1
            counts[f"class_right:{name}"] = counts[f"right:{case.kind}"]
        yield counts


def _accuracies(counts: Counts, part: str) -> Scores:
    """Accuracy per type, AA (mean over the types) and OA (over the questions)."""
    kinds = groups(counts, "n:")
    scores = {kind: share(counts[f"{part}:{kind}"], counts[f"n:{kind}"]) for kind in kinds}
    right = sum(counts[f"{part}:{kind}"] for kind in kinds)
    average = share(sum(scores.values()), len(scores))
    overall = share(right, sum(counts[f"n:{kind}"] for kind in kinds))
    return {**scores, "AA": average, "OA": overall}


def _published(resolution: Resolution, counts: Counts) -> Scores:
    """Accuracies, and those of each class of numbers."""
    by_class = {
        name: share(counts[f"class_right:{name}"], counts[f"class:{name}"])
        for name in sorted(groups(counts, "class:"))
        if name.startswith(f"{_CLASSED[resolution][0]}/")
    }
    return {**_accuracies(counts, "right"), **by_class}


def _counted(counts: Counts) -> dict[str, int]:
    kinds = {kind: int(counts[f"n:{kind}"]) for kind in groups(counts, "n:")}
    classes = {name: int(counts[f"class:{name}"]) for name in groups(counts, "class:")}
    return {**kinds, "OA": sum(kinds.values()), **classes}


LOW = Protocol(
    name="rsvqa",
    summary="RSVQA low resolution: accuracy by type, AA, OA; counts in five classes.",
    published_rule="accuracy per type, AA: mean over types, OA: over questions; counts are right "
    "in the right class of five",
    strict_rule="the answer is the stored one except for case, blanks, outer punctuation; numbers "
    "as written",
    source="syvlo/RSVQA, VQA_model/VocabEncoder.py and train.py; doi 10.1109/TGRS.2020.2988782",
    needs=(("answer",), ("annotation",), ("vqa_type",)),
    needs_own=("type",),
    read=lambda record, answer: _read(record, answer, resolution="lr"),
    tally=_tally,
    credit=frozenset({"right", "exact", "class_right"}),
    published=lambda counts: _published("lr", counts),
    strict=lambda counts: _accuracies(counts, "exact"),
    counted=_counted,
)

HIGH = replace(
    LOW,
    name="rsvqa/hr",
    summary="RSVQA high resolution: accuracy by type, AA, OA; areas in five classes.",
    published_rule="accuracy per type, AA: mean over types, OA: over questions; areas are right in "
    "the right class of five, counts only exactly",
    read=lambda record, answer: _read(record, answer, resolution="hr"),
    published=lambda counts: _published("hr", counts),
)

XBEN = replace(
    LOW,
    name="rsvqa/xben",
    summary="RSVQAxBEN: accuracy of presence and of land cover, AA, OA.",
    published_rule="accuracy per type (presence, LC), AA: mean over types, OA: over questions; a "
    "list of classes is right as a whole",
    strict_rule="the same: the answer is the stored one except for case, blanks, outer punctuation",
    source="Lobry, Demir and Tuia, IGARSS 2021; syvlo/RSVQAxBEN, Model.ipynb, 7e8e922",
    read=lambda record, answer: _read(record, answer, resolution="xben"),
    published=lambda counts: _published("xben", counts),
)
