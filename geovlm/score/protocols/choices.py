"""Scores multiple choice as CHOICE, XLRS-Bench and GEOBench-VLM do.

Rules: ShawnAn-WHU/CHOICE, ms-swift/infer_vlm/evaluator.py (`general_evaluater`), eb6c430;
EvolvingLMMs-Lab/lmms-eval, lmms_eval/tasks/xlrs/mcq_utils.py, 13cba15 and later;
The-AI-Alliance/GEO-Bench-VLM, eval_geobenchvlm/temporal/qwen_cls_temporal.py, bd07b00.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from geovlm import answers
from geovlm.score.protocols import contract, values
from geovlm.score.protocols.contract import Counts, Protocol, Record, Scores, groups, share
from geovlm.score.protocols.values import UnreadableError

_LISTED = re.compile(r"\n([A-Z])\.([^\n]*)")
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ONE = frozenset("ABCD")
_STATES = re.compile(r"(?:answer|Answer|could be|would be|Correct option).*?([ABCD])", re.DOTALL)
_XLRS_PREFIXES = (
    "The best answer is",
    "The correct answer is",
    "The answer is",
    "The answer",
    "The best option isThe correct option is",  # a comma is missing there
    "Best answer:Best option:",
)


class Chosen(NamedTuple):
    """An answer to a question with choices."""

    kind: str
    answer: str
    right: str
    """Letters of the right choices, `AC`."""
    choices: tuple[str, ...]
    weight: float = 1.0
    """1 divided by the number of phrasings of the question."""


def choice_letter(case: Chosen) -> str:
    """Return the letter that CHOICE's template matching reads; empty if it reads none."""
    said = case.answer
    for first in (said.strip(), said.split(" ")[0], said.split(".")[0] if "." in said else ""):
        if first in _ONE:
            return first
    if re.search(r"answer|Answer|could be|would be|Correct option", said):
        stated = _STATES.search(said)
        return stated[1] if stated else ""
    label = case.choices[_number(case.right[0])].strip().replace("_", " ").lower()
    return case.right if said.lower() in label or label.split(" ")[0] in said.lower() else ""


def xlrs_letters(case: Chosen) -> str:
    """Return the letters that lmms-eval reads; any a to e of a word if none is in brackets."""
    said = case.answer.strip()
    for prefix in _XLRS_PREFIXES:
        said = said.replace(prefix, "")
    if not re.search("[ABCDE]", said):
        return ""
    found = re.findall(r"\(([a-eA-E])\)", said) or re.findall("[a-eA-E]", said)
    return "".join(sorted({letter.upper() for letter in found}))


def first_letter(case: Chosen) -> str:
    """Return the first character if it is A to E: GEOBench-VLM's reading."""
    said = case.answer.strip()[:1]
    return said if said in set("ABCDE") else ""


def _answer(record: Record) -> str:
    return contract.answer(record) if record.own else record.text("response", "answer")


def _read(record: Record, answer: str) -> Chosen:
    if not record.own:
        path = str(record.fields.get("image_path") or "").split("/")
        kind = record.fields.get("task") or (path[-3] if len(path) > 2 else "all")
        choices = tuple(text for _, text in _LISTED.findall(record.text("query")))
        return _checked(Chosen(str(kind), answer, record.text("label"), choices))
    gold = record.target()
    phrasings = gold.get("phrasings") or 1
    kind = values.text(gold, "type") if gold.get("type") else "all"
    right = record.text("answer").replace(" ", "")
    if not isinstance(phrasings, int) or phrasings < 1:
        raise UnreadableError("field 'phrasings' is not a number of phrasings")
    chosen = Chosen(kind, answer, right, tuple(values.texts(gold, "choices")), 1 / phrasings)
    return _checked(chosen)


def _checked(case: Chosen) -> Chosen:
    if not case.right or not set(case.right) <= set(_ALPHABET[: len(case.choices)]):
        raise UnreadableError("the truth is not letters of the choices")
    return case


def _number(letter: str) -> int:
    return _ALPHABET.index(letter)


def _tally(cases: Sequence[Chosen], *, reads: Callable[[Chosen], str]) -> Iterator[Counts]:
    for case in cases:
        right = set(map(_number, case.right))
        named = set(answers.named_choices(case.answer, case.choices))
        yield {
            f"n:{case.kind}": case.weight,
            f"right:{case.kind}": case.weight * (set(reads(case)) == set(case.right)),
            f"exact:{case.kind}": case.weight * (named == right),
        }


def _scores(counts: Counts, part: str) -> Scores:
    """Accuracy of each kind, their mean (`macro`), and over all questions (`micro`)."""
    kinds = groups(counts, "n:")
    each = {kind: share(counts[f"{part}:{kind}"], counts[f"n:{kind}"]) for kind in sorted(kinds)}
    right = sum(counts[f"{part}:{kind}"] for kind in kinds)
    return {
        "micro": share(right, sum(counts[f"n:{kind}"] for kind in kinds)),
        "macro": share(sum(each.values()), len(each)),
        **each,
    }


def _counted(counts: Counts) -> dict[str, int]:
    number = {kind: round(counts[f"n:{kind}"]) for kind in groups(counts, "n:")}
    total = sum(number.values())
    return {"micro": total, "macro": total, **number}


def _is_choice(fields: Mapping[str, Any]) -> bool:
    return "target" in fields or _LISTED.search(str(fields.get("query"))) is not None


def _protocol(
    name: str, summary: str, *, reads: Callable[[Chosen], str], published_rule: str, source: str
) -> Protocol:
    return Protocol(
        name=name,
        summary=summary,
        published_rule=f"{published_rule}; micro: over questions, macro: mean over kinds",
        strict_rule="the answer names the right choice or choices and no other, see "
        "geovlm.answers.named_choices",
        source=source,
        needs=(("response", "answer"), ("label",), ("query",)),
        needs_own=("choices",),
        read=_read,
        answer=_answer,
        tally=partial(_tally, reads=reads),
        credit=frozenset({"right", "exact"}),
        published=lambda counts: _scores(counts, "right"),
        strict=lambda counts: _scores(counts, "exact"),
        counted=_counted,
        fits=_is_choice,
    )


CHOICE = _protocol(
    "choice",
    "Multiple choice of CHOICE.",
    reads=choice_letter,
    published_rule="CHOICE's template matching: a letter, a letter in a statement, or the first "
    "word of the right choice anywhere in the answer",
    source="ShawnAn-WHU/CHOICE, ms-swift/infer_vlm/evaluator.py, eb6c430",
)
XLRS = _protocol(
    "xlrs",
    "Multiple choice of XLRS-Bench, with several letters.",
    reads=xlrs_letters,
    published_rule="the set of letters A to E in the answer is that of the truth; letters of words "
    "count where none is in brackets",
    source="EvolvingLMMs-Lab/lmms-eval, lmms_eval/tasks/xlrs/mcq_utils.py",
)
GEOBENCH = _protocol(
    "geobench_vlm",
    "Multiple choice of GEOBench-VLM, phrasings averaged.",
    reads=first_letter,
    published_rule="the first character is the right letter; phrasings of one question weigh one "
    "question together",
    source="The-AI-Alliance/GEO-Bench-VLM, eval_geobenchvlm, bd07b00; it publishes no scorer",
)
