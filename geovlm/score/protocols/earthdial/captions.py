"""Scores captions as EarthDial does: of images, of changes, of what is inside a box.

Rules: hiyamdebary/EarthDial, src/earthdial/eval/*/eval.py, 92c1260. Caption scores are means over
the references, not the best of them. METEOR, which it prints as well, is computed if NLTK's WordNet
is installed. The strict scores of captions of changes are also given for the records in which
something changed and for those in which nothing did, each with the share of answers that state
the right one of the two.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from geovlm import answers
from geovlm.rewards.reading import references
from geovlm.score.protocols.contract import Counts, Protocol, Record, Scores
from geovlm.score.protocols.earthdial.means import SOURCE, counted, mean_scores
from geovlm.score.protocols.text import letters, meteor, words
from geovlm.score.protocols.values import UnreadableError

_OVER_REFS = {"rouge1_f_mean_over_refs": "rouge1", "rougeL_f_mean_over_refs": "rougeL"}
_OVER_REFS_ANY = {"rouge1_f_mean_over_refs": "any1", "rougeL_f_mean_over_refs": "anyL"}
_OF_BEST_REF = {"rouge1_f_best_ref": "any1_best", "rougeL_f_best_ref": "anyL_best"}
"""Score -> the count that is averaged."""
_HALVES = ("change", "no_change")
_CREDIT = frozenset(
    {
        *("exact", "rouge1", "rougeL", "meteor", "right"),
        *("any1", "anyL", "any1_best", "anyL_best"),
    }
)


class Captioned(NamedTuple):
    """A sentence and its references."""

    answer: str
    truths: tuple[str, ...]
    printed: tuple[str, ...] = ()
    """The references as EarthDial's METEOR reads them, where they differ: a JSON list is one text
    there, brackets and quotes included."""
    half: str = ""
    """`change` or `no_change`, where the record is about a change."""


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
        half=_half(record, found),
    )


def _half(record: Record, truths: Sequence[str]) -> str:
    """Return the half of a record about a change; unchanged is what all references state to be."""
    if record.own:
        changed = record.target().get("changed")
        return {True: "change", False: "no_change"}.get(changed, "")  # type: ignore[arg-type]
    if "[changedet]" not in str(record.fields.get("question", "")):
        return ""
    stated = all(answers.says_unchanged(truth) for truth in truths if truth.strip())
    return "no_change" if stated else "change"


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
        counts = {
            "n": 1.0,
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
        if case.half:
            own = {name: counts[name] for name in ("n", "any1", "anyL")}
            own["right"] = answers.says_unchanged(case.answer) == (case.half == "no_change")
            counts |= {f"{case.half}/{name}": value for name, value in own.items()}
        yield counts


def _left_out(total: Counts, *rouge: str) -> dict[str, str]:
    """Reasons against the published ROUGE and METEOR of a file."""
    return {
        **letters.left_out(total, "latin", rouge),
        **letters.left_out(total, "spaced", ["meteor"]),
        **meteor.left_out(),
    }


def _strict_captions(counts: Counts) -> Scores:
    """Scores over all records; of those about a change also over both halves."""
    scores = mean_scores({**_OF_BEST_REF, **_OVER_REFS_ANY, "exact": "exact"})(counts)
    for half in _HALVES:
        if n := counts.get(f"{half}/n", 0.0):
            own = {name: counts[f"{half}/{count}"] / n for name, count in _OVER_REFS_ANY.items()}
            own["accuracy"] = counts[f"{half}/right"] / n
            scores |= {f"{half}/{name}": value for name, value in own.items()}
    return scores


def _is_prose(fields: Mapping[str, Any]) -> bool:
    truth = str(fields.get("caption0", ""))
    return " " in truth.strip() and not truth.lstrip().startswith("[[")


REGION_CAPTION = Protocol(
    name="earthdial/region_caption",
    summary="A phrase for what is inside a box.",
    published_rule="ROUGE-1 and ROUGE-L F of stemmed words against the one reference, NLTK's "
    "METEOR of words between blanks, means",
    strict_rule="exact: the answer is the reference except for case, blanks, outer punctuation; "
    "ROUGE as published, of words of any script",
    source=SOURCE,
    needs=(("answer",), ("annotation",), ("size_group",)),
    needs_own=(),
    read=_read_region,
    tally=_tally_captions,
    credit=_CREDIT,
    published=mean_scores({"rouge1_f": "rouge1", "rougeL_f": "rougeL", "meteor": "meteor"}),
    strict=mean_scores({"exact": "exact", "rouge1_f": "any1", "rougeL_f": "anyL"}),
    counted=counted("rouge1_f", "rougeL_f", "meteor"),
    left_out=lambda counts: _left_out(counts, "rouge1_f", "rougeL_f"),
    notes=lambda counts: letters.notes(counts, "latin", "ROUGE"),
)

CAPTION = Protocol(
    name="earthdial/caption",
    summary="Captions of images and of changes.",
    published_rule="ROUGE-1 and ROUGE-L F of stemmed words, mean over the references, degenerate "
    "ones too; NLTK's METEOR, best of the references",
    strict_rule="ROUGE of the best reference and of the mean reference, of words of any script; "
    "exact: the answer is one of the references; of changes also by half, with the accuracy of "
    "stating whether anything changed",
    source=SOURCE,
    needs=(("answer",), ("caption0",)),
    needs_own=(),
    read=_read_caption,
    tally=_tally_captions,
    credit=_CREDIT,
    published=mean_scores({**_OVER_REFS, "meteor": "meteor"}),
    strict=_strict_captions,
    counted=counted(*_OVER_REFS, "meteor"),
    left_out=lambda counts: _left_out(counts, *_OVER_REFS),
    notes=lambda counts: letters.notes(counts, "latin", "ROUGE"),
    fits=_is_prose,
)
