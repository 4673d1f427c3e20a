"""Scores texts as EarthDial does: classification, question answering, captions.

Rules: hiyamdebary/EarthDial, src/earthdial/eval/*/eval.py, 92c1260. Its "accuracy" is token recall
(see `words.token_recall`), its caption scores are means over the references, not the best of them.
METEOR, which it prints as well, is computed if NLTK's WordNet is installed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from geovlm.rewards.reading import references
from geovlm.score.protocols import values
from geovlm.score.protocols.contract import Counts, Protocol, Record, Scores, groups, share
from geovlm.score.protocols.text import letters, meteor, words
from geovlm.score.protocols.values import UnreadableError

_SOURCE = "hiyamdebary/EarthDial, src/earthdial/eval, 92c1260"
_AVERAGED = ("comp", "presence", "rural_urban")
_OVER_REFS = {"rouge1_f_mean_over_refs": "rouge1", "rougeL_f_mean_over_refs": "rougeL"}
_OVER_REFS_ANY = {"rouge1_f_mean_over_refs": "any1", "rougeL_f_mean_over_refs": "anyL"}
_OF_BEST_REF = {"rouge1_f_best_ref": "any1_best", "rougeL_f_best_ref": "anyL_best"}
"""Score -> the count that is averaged."""
_CREDIT = frozenset(
    {
        *("recall", "exact", "f1", "rouge1", "rougeL", "meteor"),
        *("any1", "anyL", "any1_best", "anyL_best"),
    }
)


class Answered(NamedTuple):
    """A short answer and its truth."""

    answer: str
    truth: str
    kind: str = ""
    labels: frozenset[str] | None = None
    """True labels, where the record lists them."""
    vocabulary: tuple[str, ...] = ()


class Captioned(NamedTuple):
    """A sentence and its references."""

    answer: str
    truths: tuple[str, ...]
    printed: tuple[str, ...] = ()
    """The references as EarthDial's METEOR reads them, where they differ: a JSON list is one text
    there, brackets and quotes included."""


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
    right = sum(counts[f"exact:{kind}"] for kind in kinds)
    scores = _by_type(counts, "exact")
    return {**scores, "accuracy": share(right, sum(counts[f"n:{kind}"] for kind in kinds))}


def _counted_vqa(counts: Counts) -> dict[str, int]:
    number = {kind: int(counts[f"n:{kind}"]) for kind in groups(counts, "n:")}
    averaged = [kind for kind in number if kind in _AVERAGED]
    total = {"average": sum(number[kind] for kind in averaged)} if averaged else {}
    return {**number, **total}


def _read_region(record: Record, answer: str) -> Captioned:
    if not record.own:
        return Captioned(answer, (record.text("annotation"),))
    return Captioned(answer, _truths(record)[:1])


def _read_caption(record: Record, answer: str) -> Captioned:
    """All five references, empty ones too, or the first alone where the second is empty.

    A first reference that is itself a JSON list (SYSU) is read as its entries.
    """
    every = _own_captions(record) if record.own else record.captions()
    listed = None if record.own else _json_list(every[0])
    several = listed is None and len(every) > 1 and every[1]
    found = every if several else [every[0]] if listed is None else listed
    if not any(map(str.strip, found)):
        raise UnreadableError("no reference caption")
    return Captioned(
        words.spread(answer),
        tuple(map(words.spread, found)),
        printed=() if listed is None else (words.spread(every[0]),),
    )


def _own_captions(record: Record) -> Sequence[str]:
    """Return all captions of a target, blank ones too; without a list of texts its references."""
    given = record.target().get("captions")
    if isinstance(given, list) and given and all(isinstance(each, str) for each in given):
        return given
    return _truths(record)


def _truths(record: Record) -> tuple[str, ...]:
    truths = references(record.target())
    if not truths:
        raise UnreadableError("field 'target' has no captions")
    return truths


def _json_list(value: str) -> list[str] | None:
    """Return the members of a JSON list of texts; `None` if the value is no such list."""
    if not value.lstrip().startswith("["):
        return None
    try:
        listed = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return listed if all(isinstance(each, str) for each in listed) else None


def _tally_captions(cases: Sequence[Captioned]) -> Iterator[Counts]:
    for case in cases:
        latin = [words.rouge(truth, case.answer) for truth in case.truths]
        scores = [words.rouge_any(truth, case.answer) for truth in case.truths]
        yield {
            "n": 1,
            "rouge1": sum(score.rouge1 for score in latin) / len(latin),
            "rougeL": sum(score.rougeL for score in latin) / len(latin),
            "any1": sum(score.rouge1 for score in scores) / len(scores),
            "anyL": sum(score.rougeL for score in scores) / len(scores),
            "any1_best": max(score.rouge1 for score in scores),
            "anyL_best": max(score.rougeL for score in scores),
            "exact": any(words.exact(truth, case.answer) for truth in case.truths),
            **meteor.counts(case.printed or case.truths, case.answer),
            **letters.counts(case.truths, case.answer),
        }


def _left_out(total: Counts, *rouge: str) -> dict[str, str]:
    """Reasons against the published ROUGE and METEOR of a file."""
    return {
        **letters.left_out(total, "latin", rouge),
        **letters.left_out(total, "spaced", ["meteor"]),
        **meteor.left_out(),
    }


def _mean_scores(names: Mapping[str, str]) -> Callable[[Counts], Scores]:
    return lambda counts: {
        name: share(counts[names[name]], counts["n"]) for name in _computed(names)
    }


def _counted(*names: str) -> Callable[[Counts], dict[str, int]]:
    return lambda counts: dict.fromkeys(_computed(names), int(counts["n"]))


def _computed(names: Iterable[str]) -> list[str]:
    return [name for name in names if name != "meteor" or meteor.present()]


def _is_prose(fields: Mapping[str, Any]) -> bool:
    truth = str(fields.get("caption0", ""))
    return " " in truth.strip() and not truth.lstrip().startswith("[[")


def _is_short(fields: Mapping[str, Any]) -> bool:
    return not fields.get("caption1") and not str(fields.get("caption0", "")).startswith("[[")


CLASSIFY = Protocol(
    name="earthdial/classify",
    summary="Scene, land-cover and damage classes.",
    published_rule="accuracy: token recall, mean over records; extra words cost nothing",
    strict_rule="accuracy: the answer is the truth except for case, blanks and outer punctuation; "
    "sample_f1: F1 of label sets, mean over records",
    source=_SOURCE,
    needs=(("answer",), ("annotation", "caption0")),
    needs_own=(),
    read=_read_answered,
    tally=_tally_answered,
    credit=_CREDIT,
    published=_mean_scores({"accuracy": "recall"}),
    strict=_mean_scores({"accuracy": "exact", "sample_f1": "f1"}),
    counted=_counted("accuracy"),
    fits=_is_short,
)

VQA = Protocol(
    name="earthdial/vqa",
    summary="Short answers by type of question.",
    published_rule="token recall per type; average: over the questions of comp, presence and "
    "rural_urban; extra words cost nothing",
    strict_rule="the answer is the truth except for case, blanks and outer punctuation; accuracy: "
    "over all questions",
    source=_SOURCE,
    needs=(("answer",), ("annotation", "caption0"), ("vqa_type",)),
    needs_own=(),
    read=_read_vqa,
    tally=_tally_vqa,
    credit=_CREDIT,
    published=lambda counts: _by_type(counts, "recall"),
    strict=_strict_vqa,
    counted=_counted_vqa,
)

REGION_CAPTION = Protocol(
    name="earthdial/region_caption",
    summary="A phrase for what is inside a box.",
    published_rule="ROUGE-1 and ROUGE-L F of stemmed words against the one reference, NLTK's "
    "METEOR of words between blanks, means",
    strict_rule="exact: the answer is the reference except for case, blanks, outer punctuation; "
    "ROUGE as published, of words of any script",
    source=_SOURCE,
    needs=(("answer",), ("annotation",), ("size_group",)),
    needs_own=(),
    read=_read_region,
    tally=_tally_captions,
    credit=_CREDIT,
    published=_mean_scores({"rouge1_f": "rouge1", "rougeL_f": "rougeL", "meteor": "meteor"}),
    strict=_mean_scores({"exact": "exact", "rouge1_f": "any1", "rougeL_f": "anyL"}),
    counted=_counted("rouge1_f", "rougeL_f", "meteor"),
    left_out=lambda counts: _left_out(counts, "rouge1_f", "rougeL_f"),
    notes=lambda counts: letters.notes(counts, "latin", "ROUGE"),
)

CAPTION = Protocol(
    name="earthdial/caption",
    summary="Captions of images and of changes.",
    published_rule="ROUGE-1 and ROUGE-L F of stemmed words, mean over the references, degenerate "
    "ones too; NLTK's METEOR, best of the references",
    strict_rule="ROUGE of the best reference and of the mean reference, of words of any script; "
    "exact: the answer is one of the references",
    source=_SOURCE,
    needs=(("answer",), ("caption0",)),
    needs_own=(),
    read=_read_caption,
    tally=_tally_captions,
    credit=_CREDIT,
    published=_mean_scores({**_OVER_REFS, "meteor": "meteor"}),
    strict=_mean_scores({**_OF_BEST_REF, **_OVER_REFS_ANY, "exact": "exact"}),
    counted=_counted(*_OVER_REFS, "meteor"),
    left_out=lambda counts: _left_out(counts, *_OVER_REFS),
    notes=lambda counts: letters.notes(counts, "latin", "ROUGE"),
    fits=_is_prose,
)
