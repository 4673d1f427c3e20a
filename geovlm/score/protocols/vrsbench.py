"""Scores the three tasks of VRSBench, offline.

Rules: lx709/VRSBench, eval_fianl/{compute_metrics,eval_vqa_gpt}.ipynb and eval_utils.py, d38cee1.
The authors let GPT-4o-mini judge answers that a comparison of texts leaves open. Here words decide
instead (`by_words`), so scores of questions are those of a named substitute, not the published
ones. Boxes are whole hundredths of the image and cover their last one (the +1 of `computeIoU`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from geovlm.score.protocols import change_caption, contract, values
from geovlm.score.protocols.change_caption import Changed, plain
from geovlm.score.protocols.contract import Counts, Protocol, Record, Scores, groups, share
from geovlm.score.protocols.earthdial import cases as boxed
from geovlm.score.protocols.text import words
from geovlm.score.protocols.values import UnreadableError

_SOURCE = "lx709/VRSBench, eval_fianl, d38cee1"
_CLOSED = frozenset({"yes", "no", *map(str, range(100))})
_SCENE = ("image", "rural or urban")
_SYNONYMS = (
    ("soccer", "football"),
    ("ground track field", "playground"),
    ("rooftop", "building"),
    ("swimming pool", "pond"),
)
"""Pairs that the authors' prompt names as matches; the first becomes the second."""
_THRESHOLDS = (0.5, 0.7)


class Asked(NamedTuple):
    """An answer to a question and its truth, in lower case."""

    answer: str
    truth: str
    kind: str


class Placed(NamedTuple):
    """A box and its truth in hundredths of width and height."""

    truth: tuple[float, ...]
    found: Sequence[tuple[float, ...]]
    """All boxes of the answer; the published score reads the first one."""
    unique: bool


def by_text(case: Asked) -> bool | None:
    """Return the decision of the authors' comparison of texts; `None` if their judge decides."""
    if case.truth in case.answer:
        return True
    return case.truth == case.answer if case.truth in _CLOSED else None


def by_words(case: Asked) -> bool:
    """Return True if the answer has every word of the truth, by stem and with known synonyms."""
    truth, said = (set(words.stems(_merged(text))) for text in (case.truth, case.answer))
    return bool(truth) and truth <= said


def iou(truth: Sequence[float], found: Sequence[float], *, last: int) -> float:
    """Return the IoU of two boxes; with `last` 1 a box covers its last column and row too."""
    sides = [
        (min(truth[2 + axis], found[2 + axis]) - max(truth[axis], found[axis]) + last)
        for axis in (0, 1)
    ]
    both = max(0.0, sides[0]) * max(0.0, sides[1])
    area = [(box[2] - box[0] + last) * (box[3] - box[1] + last) for box in (truth, found)]
    union = sum(area) - both
    return both / union if min(area) > 0 and union > 0 else 0.0


def _merged(text: str) -> str:
    for one, other in _SYNONYMS:
        text = text.replace(one, other)
    return text


def _answer(record: Record) -> str:
    return contract.answer(record) if record.own else record.text("answer", "predicted")


def _read_asked(record: Record, answer: str) -> Asked:
    truth = values.text(record.target(), "answer") if record.own else record.text("ground_truth")
    fields = record.target() if record.own else record.fields
    kind = str(fields.get("type") or "all").strip().lower()
    return Asked(answer.lower(), truth.lower(), "scene type" if kind in _SCENE else kind)


def _tally_asked(cases: Sequence[Asked]) -> Iterator[Counts]:
    for case in cases:
        decided = by_text(case)
        yield {
            "n": 1,
            "open": decided is None,
            f"n:{case.kind}": 1,
            f"right:{case.kind}": by_words(case) if decided is None else decided,
            f"exact:{case.kind}": words.exact(case.truth, case.answer),
        }


def _accuracies(counts: Counts, part: str) -> Scores:
    kinds = groups(counts, "n:")
    each = {kind: share(counts[f"{part}:{kind}"], counts[f"n:{kind}"]) for kind in sorted(kinds)}
    right = sum(counts[f"{part}:{kind}"] for kind in kinds)
    mean = share(sum(each.values()), len(each))
    return {"all": share(right, counts["n"]), "mean_type": mean, **each}


def _counted_asked(counts: Counts) -> dict[str, int]:
    number = {kind: int(counts[f"n:{kind}"]) for kind in groups(counts, "n:")}
    return {"all": int(counts["n"]), "mean_type": int(counts["n"]), **number}


def _judged(counts: Counts) -> list[str]:
    judged, n = int(counts["open"]), int(counts["n"])
    return [
        f"GPT-4o-mini would judge {judged} of {n} answers ({share(judged, n):.1%}); "
        "here an answer with every word of the truth counts as right"
    ]


def _read_placed(record: Record, answer: str) -> Placed:
    if not record.own:
        right, said = _four(record.text("ground_truth")), _four(answer)
        if right is None:
            raise UnreadableError("field 'ground_truth' is not one box")
        unique = record.fields.get("is_unique", record.fields.get("unique"))
        return Placed(right, [said] if said else [], bool(unique))
    gold = record.target()
    truth = gold.get("hundredths")
    if not isinstance(truth, list) or len(truth) != 4 or not all(type(n) is int for n in truth):
        raise UnreadableError("field 'hundredths' of 'target' is not one box")
    read = boxed.read_refer(record, answer)
    width, height = record.fields["image_sizes"][-1]
    sides = (width, height, width, height)
    found = [
        tuple(100 * value / side for value, side in zip(box[:4], sides, strict=True))
        for box in read.predicted
    ]
    return Placed(tuple(truth), found, bool(gold.get("unique")))


def _four(text: str) -> tuple[float, ...] | None:
    """Return the first four whole numbers of a text, as the authors read a box."""
    numbers = re.findall(r"\d{1,9}", text)[:4]
    return tuple(map(float, numbers)) if len(numbers) == 4 else None


def _tally_placed(cases: Sequence[Placed]) -> Iterator[Counts]:
    for case in cases:
        group = "unique" if case.unique else "non_unique"
        first = [round(value) for value in case.found[0]] if case.found else None
        reached = iou(case.truth, first, last=1) if first else 0.0
        alone = iou(case.truth, case.found[0], last=0) if len(case.found) == 1 else 0.0
        counts: dict[str, float] = {"n": 1, f"n:{group}": 1, "iou": reached, "alone": alone}
        for least in _THRESHOLDS:
            name = f"{100 * least:.0f}"
            counts[f"acc{name}:{group}"] = reached >= least
            counts[f"alone{name}:{group}"] = alone >= least
        yield counts


def _shares(counts: Counts, part: str) -> Scores:
    kinds = [kind for kind in ("unique", "non_unique") if counts[f"n:{kind}"]]
    scores: Scores = {}
    for name in ("50", "70"):
        scores[f"acc{name}"] = share(
            sum(counts[f"{part}{name}:{kind}"] for kind in kinds), counts["n"]
        )
        for kind in kinds:
            scores[f"acc{name}/{kind}"] = share(counts[f"{part}{name}:{kind}"], counts[f"n:{kind}"])
    return scores


def _counted_placed(counts: Counts) -> dict[str, int]:
    number = {kind: int(counts[f"n:{kind}"]) for kind in groups(counts, "n:")}
    total = {"acc50": int(counts["n"]), "acc70": int(counts["n"]), "mean_iou": int(counts["n"])}
    return total | {f"acc{at}/{kind}": n for at in (50, 70) for kind, n in number.items()}


def _read_caption(record: Record, answer: str) -> Changed:
    truth = record.target().get("captions") if record.own else [record.text("ground_truth")]
    if not isinstance(truth, list) or not truth or not str(truth[0]).strip():
        raise UnreadableError("no reference caption")
    return Changed(plain(answer), (plain(str(truth[0])),), "change/")


def _whole(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return scores without those of halves, which captions of one image do not have."""
    return {
        name: value
        for name, value in scores.items()
        if "/" not in name and not name.endswith("accuracy")
    }


VQA = Protocol(
    name="vrsbench/vqa",
    summary="Short answers of VRSBench, by words instead of GPT.",
    published_rule="the truth is part of the answer; else yes, no and numbers are equal; else, in "
    "place of GPT-4o-mini, the answer has every word of the truth; all: over questions, mean_type: "
    "mean over types",
    strict_rule="the answer is the truth except for case, blanks and outer punctuation",
    source=_SOURCE,
    needs=(("answer", "predicted"), ("ground_truth",), ("type",)),
    needs_own=("answer",),
    read=_read_asked,
    answer=_answer,
    tally=_tally_asked,
    credit=frozenset({"right", "exact"}),
    published=lambda counts: _accuracies(counts, "right"),
    strict=lambda counts: _accuracies(counts, "exact"),
    counted=_counted_asked,
    notes=_judged,
    fits=lambda fields: str(fields.get("type", "")) not in ("ref", "caption"),
)
REFER = Protocol(
    name="vrsbench/refer",
    summary="One box per sentence, unique and other objects.",
    published_rule="share of sentences whose first box reaches an IoU of 0.5 and 0.7 in whole "
    "hundredths, each box with its last column and row",
    strict_rule="exactly one box, IoU without the added column and row",
    source=_SOURCE,
    needs=(("answer",), ("ground_truth",), ("is_unique", "unique")),
    needs_own=("hundredths",),
    read=_read_placed,
    answer=_answer,
    tally=_tally_placed,
    credit=frozenset({"iou", "alone", "acc50", "acc70", "alone50", "alone70"}),
    published=lambda counts: (
        _shares(counts, "acc") | {"mean_iou": share(counts["iou"], counts["n"])}
    ),
    strict=lambda counts: (
        _shares(counts, "alone") | {"mean_iou": share(counts["alone"], counts["n"])}
    ),
    counted=_counted_placed,
)
CAPTION = replace(
    change_caption.CHANGE_CAPTION,
    name="vrsbench/caption",
    summary="Detailed captions of VRSBench.",
    published_rule="BLEU-n (sacrebleu, COCO's rule), ROUGE-L and CIDEr of coco-caption, NLTK's "
    "METEOR against one reference; the authors' CLAIR needs GPT-4o and is not computed",
    strict_rule="a character of a script without blanks is a word; exact: the reference itself",
    source=f"{_SOURCE}; coco-caption",
    needs=(("answer",), ("ground_truth",)),
    needs_own=("captions",),
    read=_read_caption,
    published=lambda counts: _whole(change_caption.CHANGE_CAPTION.published(counts)),
    strict=lambda counts: _whole(change_caption.CHANGE_CAPTION.strict(counts)),
    counted=lambda counts: _whole(change_caption.CHANGE_CAPTION.counted(counts)),
    left_out=lambda counts: _whole(change_caption.CHANGE_CAPTION.left_out(counts)),
    notes=lambda counts: [],
    fits=lambda fields: fields.get("type") == "caption",
)
