"""Scores boxes as EarthDial does, and as GeoChat-Bench does.

Rules: hiyamdebary/EarthDial, src/earthdial/eval/{rs_detection,rs_change_detection,
rs_grounding_description}, 92c1260. The number that it prints as mAP is box precision: predicted
boxes that reach the IoU with any true box, divided by predicted boxes. Missed objects cost nothing,
a duplicate is a second hit. IoUs that reach the threshold up to rounding count (`overlaps.TIE`):
that gives the printed 31.76 % for GeoChat's medium objects, where a plain comparison gives 31.73 %.

Strict scores match boxes one to one and sum over the file. They read every box of the text,
with signs and fractions, also those that the published reader cannot read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from geovlm.score.protocols.contract import Counts, Protocol, Scores, answer_list, groups, share
from geovlm.score.protocols.earthdial import overlaps
from geovlm.score.protocols.earthdial.cases import (
    BoxCase,
    compare,
    read_grounding,
    read_refer,
    read_xbd,
    strict_scores,
)
from geovlm.score.protocols.text import letters, words

_SOURCE = "hiyamdebary/EarthDial, src/earthdial/eval, 92c1260"
_ORDER = ("small", "medium", "large", "single", "multiple")
_CREDIT = frozenset(
    {
        "hits",
        "hits25",
        "hits50",
        "right",
        "digits_match",
        "match25",
        "match50",
        "any1",
        "anyL",
        "rouge1_short",
        "rougeL_short",
    }
)
_MOST_BOXES = 50
"""Grounded captions with this many true boxes or more are left out of the published scores."""


def _tally_refer(cases: Sequence[BoxCase]) -> Iterator[Counts]:
    compared = compare(cases)
    digits = overlaps.matches([each.published for each in compared], threshold=0.5)
    for each, digits_match in zip(compared, digits, strict=True):
        case = each.case
        found = overlaps.hits(each.published, threshold=0.5)
        all_right = len(case.truth) == len(case.predicted) == each.match50
        counts = each.strict_counts()
        counts |= {"digits_truth": len(case.published_truth), "digits_match": digits_match}
        for group in ("all", *case.groups):
            counts |= {
                f"boxes:{group}": len(case.published),
                f"hits:{group}": found,
                f"queries:{group}": 1,
                f"right:{group}": all_right,
            }
            if group != "all":
                counts |= {f"{name}:{group}": value for name, value in each.strict_counts().items()}
        yield counts


def _rates(counts: Counts, part: str, whole: str) -> Scores:
    """Share of a count in another one, group by group."""
    return {g: share(counts[f"{part}:{g}"], counts[f"{whole}:{g}"]) for g in _groups(counts)}


def _totals(counts: Counts, name: str) -> dict[str, int]:
    return {group: int(counts[f"{name}:{group}"]) for group in _groups(counts)}


def _strict_refer(counts: Counts) -> Scores:
    """F1 of each group, then precision, recall and F1 over all of them."""
    found = [group for group in _groups(counts) if group != "all"]
    scored = {group: strict_scores(counts, f":{group}") for group in found}
    by_group = {group: scores["f1"] for group, scores in scored.items() if scores}
    predicted, truth = counts["boxes:all"], counts["digits_truth"]
    if not predicted and not truth:
        return {**by_group, **strict_scores(counts)}
    as_read = {
        "precision_digits_only": share(counts["digits_match"], predicted),
        "recall_digits_only": share(counts["digits_match"], truth),
        "f1_digits_only": share(2 * counts["digits_match"], predicted + truth),
    }
    return {**by_group, **strict_scores(counts), **as_read}


def _groups(counts: Counts) -> list[str]:
    """Return the groups of a file: sizes first, then single and multiple, then the rest."""
    found = groups(counts, "queries:")
    return [*(group for group in _ORDER if group in found), *sorted(set(found) - set(_ORDER))]


def _tally_xbd(cases: Sequence[BoxCase]) -> Iterator[Counts]:
    for each in compare(cases):
        yield {
            "boxes": len(each.case.published),
            "hits50": overlaps.hits(each.published, threshold=0.5),
            "hits25": overlaps.hits(each.published, threshold=0.25),
            **each.strict_counts(),
        }


def _published_xbd(counts: Counts) -> Scores:
    return {
        "precision_25": share(counts["hits25"], counts["boxes"]),
        "precision_50": share(counts["hits50"], counts["boxes"]),
    }


def _tally_grounding(cases: Sequence[BoxCase]) -> Iterator[Counts]:
    for each in compare(cases):
        case = each.case
        rouge = words.rouge(case.reference, case.answer_text)
        any_script = words.rouge_any(case.reference, case.answer_text)
        kept = len(case.published_truth) < _MOST_BOXES
        short = case.boxes_in_reference < _MOST_BOXES
        yield {
            "n": 1,
            "any1": any_script.rouge1,
            "anyL": any_script.rougeL,
            "short": short,
            "rouge1_short": rouge.rouge1 * short,
            "rougeL_short": rouge.rougeL * short,
            "boxes": len(case.published) * kept,
            "hits50": overlaps.hits(each.published, threshold=0.5) * kept,
            "hits25": overlaps.hits(each.published, threshold=0.25) * kept,
            **each.strict_counts(),
            **letters.counts([case.reference], case.answer_text),
        }


def _published_grounding(counts: Counts) -> Scores:
    return {
        "precision_50": share(counts["hits50"], counts["boxes"]),
        "precision_25": share(counts["hits25"], counts["boxes"]),
        "rouge1_f": share(counts["rouge1_short"], counts["short"]),
        "rougeL_f": share(counts["rougeL_short"], counts["short"]),
    }


def _strict_grounding(counts: Counts) -> Scores:
    return {
        **strict_scores(counts),
        "rouge1_f": share(counts["any1"], counts["n"]),
        "rougeL_f": share(counts["anyL"], counts["n"]),
    }


def _counted_grounding(counts: Counts) -> dict[str, int]:
    number = dict.fromkeys(("precision_50", "precision_25"), int(counts["boxes"]))
    return number | dict.fromkeys(("rouge1_f", "rougeL_f"), int(counts["short"]))


def _looks_like_boxes(fields: Mapping[str, Any]) -> bool:
    return str(fields.get("caption0", "")).lstrip().startswith("[[")


_STRICT_RULE = (
    "boxes matched one to one at IoU 0.5 (and 0.25), counts summed over the file, rotated "
    "polygons, ties counted"
)

REFER = Protocol(
    name="earthdial/refer",
    summary="Boxes of the objects that a phrase means.",
    published_rule="printed as mAP@0.5; box precision at IoU 0.5 with any true box, by size of the "
    "objects and their number: missed objects cost nothing",
    strict_rule=f"{_STRICT_RULE}; groups: F1; digits_only: without the boxes that the published "
    "reader misses",
    source=_SOURCE,
    needs=(("answer",), ("gt_bbox",), ("size_group",)),
    needs_own=("boxes",),
    read=read_refer,
    credit=_CREDIT,
    answer=answer_list,
    tally=_tally_refer,
    published=lambda counts: _rates(counts, "hits", "boxes"),
    strict=_strict_refer,
    counted=lambda counts: _totals(counts, "boxes"),
)

BENCH = replace(
    REFER,
    name="geochat/bench",
    summary="GeoChat-Bench's referring queries, right or wrong as a whole.",
    published_rule="acc@0.5: queries whose boxes are all found, one to one and nothing else; one "
    "of two public readings; no scorer was released",
    strict_rule=f"{_STRICT_RULE}; groups: F1",
    source="arXiv 2311.15826; mbzuai-oryx/GeoChat#32 on the missing scorer",
    published=lambda counts: _rates(counts, "right", "queries"),
    counted=lambda counts: _totals(counts, "queries"),
)

XBD_DETECT = Protocol(
    name="earthdial/xbd_detect",
    summary="Boxes of buildings after a disaster.",
    published_rule="printed as mAP; box precision with any true box, predicted angles dropped; the "
    "published script has IoU 0.25 only",
    strict_rule=_STRICT_RULE,
    source=_SOURCE,
    needs=(("answer",), ("caption0",)),
    needs_own=("boxes",),
    read=read_xbd,
    credit=_CREDIT,
    answer=answer_list,
    tally=_tally_xbd,
    published=_published_xbd,
    strict=strict_scores,
    counted=lambda counts: dict.fromkeys(("precision_25", "precision_50"), int(counts["boxes"])),
    fits=_looks_like_boxes,
)

GROUNDING = Protocol(
    name="earthdial/grounding",
    summary="Descriptions with boxes after their phrases.",
    published_rule="box precision at IoU 0.5 and 0.25, ROUGE F of the text without boxes; records "
    f"with {_MOST_BOXES} true boxes and more are left out",
    strict_rule=f"{_STRICT_RULE}; ROUGE of every record, of words of any script",
    source=_SOURCE,
    needs=(("answer",), ("groundtruth",), ("obj_ids",)),
    needs_own=("boxes",),
    read=read_grounding,
    credit=_CREDIT,
    answer=answer_list,
    tally=_tally_grounding,
    published=_published_grounding,
    strict=_strict_grounding,
    counted=_counted_grounding,
    left_out=lambda counts: letters.left_out(counts, "latin", ("rouge1_f", "rougeL_f")),
    notes=lambda counts: letters.notes(counts, "latin", "ROUGE"),
)
