"""Scores label sets as BigEarthNet does: micro, macro and sample F1, recall, exact sets.

Sumbul et al., IGARSS 2019, arXiv:1902.06148; Clasen et al., reBEN, arXiv:2407.03653. Four of the 19
class names contain commas, so text is read against the vocabulary, never split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from geovlm import answers
from geovlm.score.protocols import values
from geovlm.score.protocols.contract import (
    Counts,
    Protocol,
    Record,
    Scores,
    answer_list,
    groups,
    share,
)
from geovlm.score.protocols.values import UnreadableError

CLASSES = (
    "Urban fabric",
    "Industrial or commercial units",
    "Arable land",
    "Permanent crops",
    "Pastures",
    "Complex cultivation patterns",
    "Land principally occupied by agriculture, with significant areas of natural vegetation",
    "Agro-forestry areas",
    "Broad-leaved forest",
    "Coniferous forest",
    "Mixed forest",
    "Natural grassland and sparsely vegetated areas",
    "Moors, heathland and sclerophyllous vegetation",
    "Transitional woodland, shrub",
    "Beaches, dunes, sands",
    "Inland wetlands",
    "Coastal wetlands",
    "Inland waters",
    "Marine waters",
)
"""The 19 classes (kai-tub/bigearthnet_common, constants.py); other files have a `vocabulary`."""


class Labelled(NamedTuple):
    """True and named classes of one patch."""

    truth: frozenset[str]
    named: frozenset[str]
    classes: int
    """Size of the vocabulary."""


def _read(record: Record, answer: str) -> Labelled:
    """Labels as a list (`labels`) or as text (`annotation`); `vocabulary` if it is not the 19."""
    gold = record.target() if record.own else record.fields
    vocabulary = values.texts(gold, "vocabulary") or list(CLASSES)
    if gold.get("labels") is not None:
        truth = frozenset(values.texts(gold, "labels"))
        if not truth <= set(vocabulary):
            raise UnreadableError("a true label is not in the vocabulary")
    else:
        truth = frozenset(answers.labels(values.text(gold, "annotation"), vocabulary))
        if not truth:
            raise UnreadableError("field 'annotation' names no class of the vocabulary")
    return Labelled(truth, frozenset(answers.labels(answer, vocabulary)), len(vocabulary))


def _tally(cases: Sequence[Labelled]) -> Iterator[Counts]:
    for case in cases:
        both, total = len(case.truth & case.named), len(case.truth) + len(case.named)
        counts: dict[str, float] = {
            "n": 1,
            "classes": case.classes,
            "f1": 2 * both / total if total else 1.0,
            "recall": both / len(case.truth) if case.truth else float(not case.named),
            "precision": both / len(case.named) if case.named else float(not case.truth),
            "exact": case.truth == case.named,
        }
        counts |= dict.fromkeys((f"tp:{label}" for label in case.truth & case.named), 1)
        counts |= dict.fromkeys((f"fp:{label}" for label in case.named - case.truth), 1)
        counts |= dict.fromkeys((f"fn:{label}" for label in case.truth - case.named), 1)
        yield counts


def _f1s(counts: Counts) -> dict[str, float]:
    """F1 of every class that occurs in truth or answers."""
    labels = dict.fromkeys(
        label for prefix in ("tp:", "fp:", "fn:") for label in groups(counts, prefix)
    )
    return {
        label: share(
            2 * counts[f"tp:{label}"],
            2 * counts[f"tp:{label}"] + counts[f"fp:{label}"] + counts[f"fn:{label}"],
        )
        for label in labels
    }


def _micro(counts: Counts) -> float:
    tp, fp, fn = (
        sum(counts[f"{kind}:{label}"] for label in groups(counts, f"{kind}:"))
        for kind in ("tp", "fp", "fn")
    )
    return share(2 * tp, 2 * tp + fp + fn)


def _published(counts: Counts) -> Scores:
    return {
        "micro_f1": _micro(counts),
        "macro_f1": share(sum(_f1s(counts).values()), counts["classes"] / counts["n"]),
        "sample_f1": counts["f1"] / counts["n"],
        "recall": counts["recall"] / counts["n"],
        "exact_match": counts["exact"] / counts["n"],
    }


def _strict(counts: Counts) -> Scores:
    f1s = _f1s(counts)
    of_labels = {"micro_f1": _micro(counts), "macro_f1": share(sum(f1s.values()), len(f1s))}
    return {
        **(of_labels if f1s else {}),
        "sample_f1": counts["f1"] / counts["n"],
        "precision": counts["precision"] / counts["n"],
        "exact_match": counts["exact"] / counts["n"],
    }


def _counted(counts: Counts) -> dict[str, int]:
    names = ("micro_f1", "macro_f1", "sample_f1", "recall", "exact_match")
    return dict.fromkeys(names, int(counts["n"]))


BIGEARTHNET = Protocol(
    name="bigearthnet",
    summary="Sets of land-cover classes.",
    published_rule="macro_f1: over all classes of the vocabulary, absent ones 0 (scikit-learn's "
    "zero_division); sample_f1, recall: mean over patches; recall: 1 for naming every class",
    strict_rule="macro_f1: over the classes that occur; precision instead of recall",
    source="arXiv:1902.06148, arXiv:2407.03653; scikit-learn's f1_score",
    needs=(("answer",), ("labels", "annotation")),
    needs_own=("labels", "vocabulary"),
    read=_read,
    tally=_tally,
    credit=frozenset({"f1", "recall", "precision", "exact", "tp"}),
    answer=answer_list,
    published=_published,
    strict=_strict,
    counted=_counted,
    fits=lambda fields: "labels" in fields or "target" in fields,
)
