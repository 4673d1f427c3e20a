"""Writes questions and answers: the published questions, numbers in the official classes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from geovlm.api import PromptContext, Sample, Turn
from geovlm_rsvqa import BenchmarkTaskOptions

SUFFIX = "Answer the question using a single word or phrase."
PUBLISHED = "[hr_rgb_0.5] <image>\\n {} Answer the question using a single word."
"""EarthDial's question about a stored question, byte for byte, with a literal backslash and `n`.
Source: hiyamdebary/EarthDial, src/earthdial/eval/rs_vqa/results/RSVQA_LR.jsonl, 92c1260."""
AS_STORED = "question as stored"
"""Key of `Sample.meta`: the question with its double blanks, where it has any."""
COUNT_CLASSES = (
    "0",
    "between 0 and 10",
    "between 10 and 100",
    "between 100 and 1000",
    "more than 1000",
)
AREA_CLASSES = (
    "0m2",
    "between 0m2 and 10m2",
    "between 10m2 and 100m2",
    "between 100m2 and 1000m2",
    "more than 1000m2",
)
CLOSED: dict[str, tuple[str, ...]] = {
    "presence": ("yes", "no"),
    "comp": ("yes", "no"),
    "rural_urban": ("rural", "urban"),
}
"""Question types with two possible answers."""

_LIMITS = (0, 10, 100, 1000)
_COUNT = re.compile(
    r"(?:what is the (?:number|amount) of|how many) (?P<thing>.+?)"
    r"(?: are there| are present)?(?: in the (?:image|picture))?$"
)
_COMP = re.compile(
    r"(?:are there (?:less|more)|is the number of) (?P<a>.+?) "
    r"(?:than|equal to the number of) (?P<b>.+?)(?: in the (?:image|picture))?$"
)
_PRESENCE = re.compile(
    r"is (?:there )?(?:a|an) (?P<thing>.+?)(?: present)?(?: in the (?:image|picture))?$"
)


def prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask the published question; if the answer is a class of numbers, name the classes."""
    vocabulary: Any = sample.target.get("vocabulary") or ()
    ranges = f" Choose from: {'; '.join(vocabulary)}." if len(vocabulary) > 2 else ""
    return Turn(
        question=f"{sample.question.rstrip('?')}?{ranges} {SUFFIX}",
        answer=str(sample.target["answer"]),
        reasoning=_reasoning(sample),
    )


def published_prompt(sample: Sample, ctx: PromptContext) -> Turn:
    """Ask as EarthDial does, but for its `<image>`: the chat template puts the image in."""
    own: BenchmarkTaskOptions = ctx.options or BenchmarkTaskOptions()
    turn = prompt(sample, ctx)
    if own.wording == "plain":
        return turn
    stored = str(sample.meta.get(AS_STORED, sample.question))
    question = PUBLISHED.replace("<image>", "").format(stored)
    return Turn(question=question, answer=turn.answer, reasoning=turn.reasoning)


def without_numbers(record: Sample) -> Iterable[Sample]:
    """Yield the record unless it asks for a count or an area, which the tables leave out."""
    return () if record.target["type"] in ("count", "area") else (record,)


def number_class(answer: str, classes: tuple[str, ...]) -> str:
    """Return the official class of a number such as `47` or `9658m2`.

    The ranges are those of the authors' VocabEncoder (syvlo/RSVQA, VQA_model/VocabEncoder.py):
    0, 1 to 10, 11 to 100, 101 to 1000, more.

    Raises:
        ValueError: the answer does not begin with a number.
    """
    digits = re.match(r"\d+", answer)
    if digits is None:
        raise ValueError(f"{answer!r} is not a number")
    return classes[sum(int(digits.group()) > limit for limit in _LIMITS)]


def counted(question: str) -> str | None:
    """Return the things that a count question counts (`buildings`); `None` for another wording."""
    match = _COUNT.fullmatch(_plain(question))
    return match["thing"] if match else None


def _plain(question: str) -> str:
    return " ".join(question.lower().rstrip("? ").split())


def _reasoning(sample: Sample) -> str:
    """Return the reasoning: the numbers of the things in the question, as far as annotated."""
    counts: Any = sample.target["counts"]
    kind, question = str(sample.target["type"]), _plain(sample.question)
    if kind in ("count", "area"):
        raw = sample.target["raw"]
        return f"{'Covered' if kind == 'area' else 'Counted'} in the image: {raw}."
    if kind == "comp" and (match := _COMP.fullmatch(question)):
        a, b = match["a"], match["b"]
        if a in counts and b in counts:
            return f"Counted: {counts[a]} {a}, {counts[b]} {b}."
        return f"The {a} are compared with the {b}."
    if kind == "presence" and (match := _PRESENCE.fullmatch(question)):
        thing = match["thing"]
        if f"{thing}s" in counts:
            return f"Counted: {counts[f'{thing}s']} {thing}s."
        found = "is" if sample.target["answer"] == "yes" else "is not"
        return f"The {thing} {found} among the things mapped here."
    telling = sorted(counts.items(), key=lambda pair: "building" not in pair[0])  # stable
    listed = ", ".join(f"{n} {thing}" for thing, n in telling[:3])
    return f"Counted: {listed}." if listed else "The area is judged as a whole."
