"""The built-in corpus metrics. They are strict: one answer, one-to-one boxes, both kinds of error.

What one prediction contributes is computed once and kept while the prediction lives, so that the
bootstrap only adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from geovlm import answers, boxes, rewards
from geovlm.api import MetricSpec, Prediction, RewardContext

Counts = dict[str, float]


def _kept(function: Callable[[Prediction], Counts]) -> Callable[[Prediction], Counts]:
    """Remember the result per prediction, by identity, as long as it lives."""
    known: WeakKeyDictionary[Prediction, Counts] = WeakKeyDictionary()

    def remembered(prediction: Prediction) -> Counts:
        if prediction not in known:
            known[prediction] = function(prediction)
        return known[prediction]

    return remembered


def accuracy(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Share of answers that are the gold answer and only that (the reward `exact`).

    `accuracy` is over all (OA); with `target["type"]` also `accuracy/<type>` and their unweighted
    mean `accuracy/mean_type` (AA).
    """
    by_type: dict[str, list[float]] = {}
    for prediction in predictions:
        kind = str(prediction.target.get("type", ""))
        by_type.setdefault(kind, []).append(_exact(prediction)["exact"])
    everything = [value for values in by_type.values() for value in values]
    result = {"accuracy": _mean(everything)}
    typed = {kind: _mean(values) for kind, values in sorted(by_type.items()) if kind}
    if typed:
        result["accuracy/mean_type"] = _mean(list(typed.values()))
        result.update({f"accuracy/{kind}": value for kind, value in typed.items()})
    return result


def labels(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Multi-label scores: `sample_f1`, `micro_f1`, `macro_f1`, `recall` (per sample), `exact_set`.

    `macro_f1` is over the labels that occur in truth or predictions; a sample without any label on
    either side counts as right.
    """
    per_label: dict[str, list[int]] = {}
    f1s, recalls, exacts = [], [], []
    for prediction in predictions:
        counts = _labels(prediction)
        f1s.append(counts["f1"])
        recalls.append(counts["recall"])
        exacts.append(counts["exact"])
        for key, value in counts.items():
            kind, _, label = key.partition(":")
            if label:
                index = ("tp", "fp", "fn").index(kind)
                per_label.setdefault(label, [0, 0, 0])[index] += int(value)
    sums = [sum(counts[i] for counts in per_label.values()) for i in range(3)]
    return {
        "sample_f1": _mean(f1s),
        "micro_f1": _f1(*sums) if per_label else 1.0,
        "macro_f1": _mean([_f1(*counts) for counts in per_label.values()]) if per_label else 1.0,
        "recall": _mean(recalls),
        "exact_set": _mean(exacts),
    }


def detection(predictions: Sequence[Prediction]) -> dict[str, float]:
    """One-to-one box scores: `precision`, `recall`, `f1` at IoU 0.5, `f1_25` at 0.25, `mean_iou`.

    Counts are summed over the corpus; `mean_iou` is the mean over samples of the matched IoU (the
    reward `matched_iou`). Rotated boxes are replaced by their enclosing boxes.
    """
    sums: Counts = dict.fromkeys(("truth", "predicted", "hits", "hits25", "iou"), 0.0)
    for prediction in predictions:
        for key, value in _detection(prediction).items():
            sums[key] += value
    empty = float(not sums["truth"])  # precision of saying nothing
    return {
        "precision": _ratio(sums["hits"], sums["predicted"]) if sums["predicted"] else empty,
        "recall": _ratio(sums["hits"], sums["truth"]),
        "f1": _ratio(2 * sums["hits"], sums["predicted"] + sums["truth"]),
        "f1_25": _ratio(2 * sums["hits25"], sums["predicted"] + sums["truth"]),
        "mean_iou": sums["iou"] / len(predictions),
    }


def caption(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Caption scores against all references, means over samples.

    `rougeL` (best reference), `rougeL_mean` (mean over references), `levenshtein` (best reference),
    `caption_f1` (the reward of that name). ROUGE is rouge-score's, with stemming.
    """
    sums: dict[str, list[float]] = {}
    for prediction in predictions:
        for key, value in _caption(prediction).items():
            sums.setdefault(key, []).append(value)
    return {key: _mean(values) for key, values in sums.items()}


def grounding(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Text and boxes of grounded captions: `grounded_f1`, the mean of the reward of that name."""
    return {"grounded_f1": _mean([_grounding(p)["grounded_f1"] for p in predictions])}


def format_rate(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Share of completions with both tag blocks well-formed: `format_rate`."""
    right = [
        float(answers.has_think(p.completion) and answers.has_answer(p.completion))
        for p in predictions
    ]
    return {"format_rate": _mean(right)}


def _context(prediction: Prediction) -> RewardContext:
    return RewardContext(
        task=prediction.task,
        sample_id=prediction.sample_id,
        question=prediction.question,
        answer=prediction.answer,
        target=prediction.target,
        image_sizes=prediction.image_sizes,
        input_sizes=prediction.input_sizes,
        profile=prediction.profile,
    )


@_kept
def _exact(prediction: Prediction) -> Counts:
    return {"exact": rewards.exact(prediction.completion, _context(prediction))}


@_kept
def _labels(prediction: Prediction) -> Counts:
    target: Mapping[str, Any] = prediction.target
    truth = {str(label) for label in target.get("labels") or ()}
    vocabulary = [str(entry) for entry in target.get("vocabulary") or sorted(truth)]
    named = set(answers.labels(answers.answer_text(prediction.completion), vocabulary))
    counts: Counts = {
        "f1": 2 * len(truth & named) / (len(truth) + len(named)) if truth or named else 1.0,
        "recall": len(truth & named) / len(truth) if truth else float(not named),
        "exact": float(truth == named),
    }
    counts.update({f"tp:{label}": 1.0 for label in truth & named})
    counts.update({f"fp:{label}": 1.0 for label in named - truth})
    counts.update({f"fn:{label}": 1.0 for label in truth - named})
    return counts


@_kept
def _detection(prediction: Prediction) -> Counts:
    text = answers.answer_text(prediction.completion)
    truth = [boxes.enclosing(box) for box in boxes.target_boxes(prediction.target)]
    found = [boxes.enclosing(b) for b in boxes.parse(text, prediction, limit=rewards.MAX_BOXES)]
    pairs = boxes.match(truth, found)
    larger = max(len(truth), len(found))
    return {
        "truth": float(len(truth)),
        "predicted": float(len(found)),
        "hits": float(sum(value >= 0.5 for _, _, value in pairs)),
        "hits25": float(sum(value >= 0.25 for _, _, value in pairs)),
        "iou": sum(value for _, _, value in pairs) / larger if larger else 1.0,
    }


@_kept
def _caption(prediction: Prediction) -> Counts:
    from rouge_score.rouge_scorer import RougeScorer

    text = answers.answer_text(prediction.completion)
    context = _context(prediction)
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    rouge = [
        float(scorer.score(reference, text)["rougeL"].fmeasure)
        for reference in rewards.references(prediction.target)
    ] or [0.0]
    return {
        "rougeL": max(rouge),
        "rougeL_mean": _mean(rouge),
        "levenshtein": rewards.levenshtein(prediction.completion, context),
        "caption_f1": rewards.caption_f1(prediction.completion, context),
    }


@_kept
def _grounding(prediction: Prediction) -> Counts:
    return {"grounded_f1": rewards.grounded_f1(prediction.completion, _context(prediction))}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _f1(tp: float, fp: float, fn: float) -> float:
    return _ratio(2 * tp, 2 * tp + fp + fn)


def _ratio(part: float, whole: float) -> float:
    """Return part / whole; 1 where there was nothing to find and nothing was said."""
    return part / whole if whole else 1.0


SPECS: tuple[MetricSpec, ...] = (
    MetricSpec(name="accuracy", summary="Exact answers, overall and by type.", compute=accuracy),
    MetricSpec(name="labels", summary="Multi-label F1, recall, exact sets.", compute=labels),
    MetricSpec(name="detection", summary="One-to-one box F1 at IoU 0.5.", compute=detection),
    MetricSpec(name="caption", summary="ROUGE-L, Levenshtein, facts.", compute=caption),
    MetricSpec(name="grounding", summary="Text and boxes together.", compute=grounding),
    MetricSpec(name="format", summary="Share of well-formed completions.", compute=format_rate),
)
