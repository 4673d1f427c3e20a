"""Scores short answers as EarthDial does: classification and question answering.

Rules: hiyamdebary/EarthDial, src/earthdial/eval/*/eval.py, 92c1260. Its "accuracy" is token recall
(see `words.token_recall`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from geovlm.score.protocols import values
from geovlm.score.protocols.contract import Counts, Protocol, Record, Scores, groups, share
from geovlm.score.protocols.earthdial.means import SOURCE, counted, mean_scores
from geovlm.score.protocols.text import words

_AVERAGED = ("comp", "presence", "rural_urban")
_CREDIT = frozenset({"recall", "exact", "f1"})


class Answered(NamedTuple):
    """A short answer and its truth."""

    answer: str
    truth: str
    kind: str = ""
    labels: frozenset[str] | None = None
    """True labels, where the record lists them."""
    vocabulary: tuple[str, ...] = ()


def _read_answered(record: Record, answer: str) -> Answered:
    if not record.own:
        return Answered(answer, record.text("annotation", "caption0"))
    gold = record.target()
    labels = values.texts(gold, "labels")
    listed = gold.get("labels") is not None
    return Answered(
        answer,
        record.text("answer"),
        labels=words.label_set(", ".join(labels), labels) if listed else None,
        vocabulary=tuple(values.texts(gold, "vocabulary")),
    )


def _read_vqa(record: Record, answer: str) -> Answered:
    read = _read_answered(record, answer)
    if not record.own:
        return read._replace(kind=record.text("vqa_type"))
    gold = record.target()
    return read._replace(kind=values.text(gold, "type") if gold.get("type") else "all")


def _tally_answered(cases: Sequence[Answered]) -> Iterator[Counts]:
    for case in cases:
        truth = words.label_set(case.truth) if case.labels is None else case.labels
        named = words.label_set(case.answer, case.vocabulary)
        yield {
            "n": 1,
            "recall": words.token_recall(case.truth, case.answer),
            "exact": words.exact(case.truth, case.answer),
            "f1": words.set_f1(truth, named),
        }


def _tally_vqa(cases: Sequence[Answered]) -> Iterator[Counts]:
    for case in cases:
        yield {
            f"n:{case.kind}": 1,
            f"recall:{case.kind}": words.token_recall(case.truth, case.answer),
            f"exact:{case.kind}": words.exact(case.truth, case.answer),
        }


def _by_type(counts: Counts, part: str) -> Scores:
    """Mean per question type, and over the questions of the types that the papers average."""
    kinds = groups(counts, "n:")
    scores = {kind: share(counts[f"{part}:{kind}"], counts[f"n:{kind}"]) for kind in kinds}
    averaged = [kind for kind in kinds if kind in _AVERAGED]
    if averaged:
        total = sum(counts[f"{part}:{kind}"] for kind in averaged)
        scores["average"] = share(total, sum(counts[f"n:{kind}"] for kind in averaged))
    return scores


def _strict_vqa(counts: Counts) -> Scores:
    kinds = groups(counts, "n:")
    if not kinds:
        return {}
    right = sum(counts[f"exact:{kind}"] for kind in kinds)
    scores = _by_type(counts, "exact")
    return {**scores, "accuracy": share(right, sum(counts[f"n:{kind}"] for kind in kinds))}


def _counted_vqa(counts: Counts) -> dict[str, int]:
    number = {kind: int(counts[f"n:{kind}"]) for kind in groups(counts, "n:")}
    averaged = [kind for kind in number if kind in _AVERAGED]
    total = {"average": sum(number[kind] for kind in averaged)} if averaged else {}
    return {**number, **total}


def _only(counts: Counts, kinds: Sequence[str]) -> Counts:
    """Return the counts of the questions of these types; any other name counts 0."""
    kept = {name: value for name, value in counts.items() if name.partition(":")[2] in kinds}
    return defaultdict(float, kept)


def _without_others(counts: Counts, kinds: Sequence[str]) -> list[str]:
    """Return a sentence about the questions of other types; none if there are none."""
    others = {kind: int(counts[f"n:{kind}"]) for kind in groups(counts, "n:")}
    listed = [f"{n:,} of type {kind}" for kind, n in others.items() if kind not in kinds]
    return [f"left out, as in the published tables: {', '.join(listed)}"] if listed else []


def _of_types(name: str, summary: str, *kinds: str) -> Protocol:
    """Return the protocol `earthdial/vqa` over the questions of these types alone."""
    return replace(
        VQA,
        name=name,
        summary=summary,
        published_rule=f"token recall of the types {', '.join(kinds)}; average: over their "
        "questions; others are left out; extra words cost nothing",
        strict_rule="the answer is the truth except for case, blanks and outer punctuation; "
        "accuracy: over the same questions",
        needs_own=("type",),
        published=lambda counts: _by_type(_only(counts, kinds), "recall"),
        strict=lambda counts: _strict_vqa(_only(counts, kinds)),
        counted=lambda counts: _counted_vqa(_only(counts, kinds)),
        notes=lambda counts: _without_others(counts, kinds),
    )


def _is_short(fields: Mapping[str, Any]) -> bool:
    return not fields.get("caption1") and not str(fields.get("caption0", "")).startswith("[[")


CLASSIFY = Protocol(
    name="earthdial/classify",
    summary="Scene, land-cover and damage classes.",
    published_rule="accuracy: token recall, mean over records; extra words cost nothing",
    strict_rule="accuracy: the answer is the truth except for case, blanks and outer punctuation; "
    "sample_f1: F1 of label sets, mean over records",
    source=SOURCE,
    needs=(("answer",), ("annotation", "caption0")),
    needs_own=(),
    read=_read_answered,
    tally=_tally_answered,
    credit=_CREDIT,
    published=mean_scores({"accuracy": "recall"}),
    strict=mean_scores({"accuracy": "exact", "sample_f1": "f1"}),
    counted=counted("accuracy"),
    fits=_is_short,
)

VQA = Protocol(
    name="earthdial/vqa",
    summary="Short answers by type of question.",
    published_rule="token recall per type; average: over the questions of comp, presence and "
    "rural_urban; extra words cost nothing",
    strict_rule="the answer is the truth except for case, blanks and outer punctuation; accuracy: "
    "over all questions",
    source=SOURCE,
    needs=(("answer",), ("annotation", "caption0"), ("vqa_type",)),
    needs_own=(),
    read=_read_vqa,
    tally=_tally_vqa,
    credit=_CREDIT,
    published=lambda counts: _by_type(counts, "recall"),
    strict=_strict_vqa,
    counted=_counted_vqa,
)

LRBEN = _of_types(
    "rsvqa/lrben",
    "RSVQA-LRBEN of the published tables: RSVQA low resolution without counts.",
    *("presence", "comp", "rural_urban"),
)

HRBEN = _of_types(
    "rsvqa/hrben",
    "RSVQA-HRBEN of the published tables: RSVQA high resolution without counts and areas.",
    *("presence", "comp"),
)
