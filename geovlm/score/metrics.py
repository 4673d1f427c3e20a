"""The built-in corpus metrics. They are strict: one answer, one-to-one boxes, both kinds of error.

What one prediction contributes is computed once and kept while the prediction lives, so that the
bootstrap only adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from geovlm import answers, boxes
from geovlm.api import Prediction, RewardContext
from geovlm.data.prompts import reward_context
from geovlm.rewards import paper, robust
from geovlm.rewards.reading import MAX_BOXES, references

Counts = dict[str, float]
Sums = Mapping[str, Any]
"""Sums over samples: numpy arrays of one shape, one entry per resample; see `MetricSpec.finish`."""


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
    return _of_sums(predictions, counts=_exact, finish=_accuracy)


def labels(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Multi-label scores: `sample_f1`, `micro_f1`, `macro_f1`, `recall` (per sample), `exact_set`.

    `macro_f1` is over the labels that occur in truth or predictions; a sample without any label on
    either side counts as right.
    """
    return _of_sums(predictions, counts=_labels, finish=_label_scores)


def detection(predictions: Sequence[Prediction]) -> dict[str, float]:
    """One-to-one box scores: `precision`, `recall`, `f1` at IoU 0.5, `f1_25` at 0.25, `mean_iou`.

    Counts are summed over the corpus; `mean_iou` is the mean over samples of the matched IoU (the
    reward `matched_iou`). Rotated boxes are replaced by their enclosing boxes.
    """
    return _of_sums(predictions, counts=_detection, finish=_box_scores)


def caption(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Caption scores against all references, means over samples.

    `rougeL` (best reference), `rougeL_mean` (mean over references), `levenshtein` (best reference),
    `caption_f1` (the reward of that name). ROUGE is rouge-score's, with stemming.
    """
    return _of_sums(predictions, counts=_caption, finish=_means)


def grounding(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Text and boxes of grounded captions: `grounded_f1`, the mean of the reward of that name."""
    return _of_sums(predictions, counts=_grounding, finish=_means)


def format_rate(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Share of completions with both tag blocks well-formed: `format_rate`."""
    return _of_sums(predictions, counts=_format, finish=_means)


def _of_sums(
    predictions: Sequence[Prediction],
    *,
    counts: Callable[[Prediction], Counts],
    finish: Callable[[Sums], Sums],
) -> dict[str, float]:
    """Add up what the predictions contribute and finish it; undefined numbers are left out."""
    import numpy as np

    sums: Counts = {}
    for prediction in predictions:
        for key, value in counts(prediction).items():
            sums[key] = sums.get(key, 0.0) + value
    found = finish({key: np.array([value]) for key, value in sums.items()})
    return {name: float(values[0]) for name, values in found.items() if not np.isnan(values[0])}


def _accuracy(sums: Sums) -> Sums:
    import numpy as np

    kinds = sorted(key.removeprefix("n:") for key in sums if key.startswith("n:"))
    right = sum(sums[f"right:{kind}"] for kind in kinds)
    result = {"accuracy": right / sum(sums[f"n:{kind}"] for kind in kinds)}
    typed = {
        kind: _ratio(sums[f"right:{kind}"], sums[f"n:{kind}"], empty=np.nan)
        for kind in kinds
        if kind
    }
    if typed:
        present = sum(sums[f"n:{kind}"] > 0 for kind in typed)
        total = sum(np.nan_to_num(value) for value in typed.values())
        result["accuracy/mean_type"] = _ratio(total, present, empty=np.nan)
        result.update({f"accuracy/{kind}": value for kind, value in typed.items()})
    return result


def _label_scores(sums: Sums) -> Sums:
    n = sums["n"]
    names = dict.fromkeys(key.partition(":")[2] for key in sums if ":" in key)
    nothing = 0.0 * n
    found = [[sums.get(f"{k}:{name}", nothing) for k in ("tp", "fp", "fn")] for name in names]
    micro = [sum((each[i] for each in found), nothing) for i in range(3)]
    occurring = [sum(each) > 0 for each in found]
    macro = sum(
        (_f1(*each) * present for each, present in zip(found, occurring, strict=True)), nothing
    )
    return {
        "sample_f1": sums["f1"] / n,
        "micro_f1": _f1(*micro),
        "macro_f1": _ratio(macro, sum(occurring, nothing)),
        "recall": sums["recall"] / n,
        "exact_set": sums["exact"] / n,
    }


def _box_scores(sums: Sums) -> Sums:
    truth, predicted, hits = sums["truth"], sums["predicted"], sums["hits"]
    return {
        "precision": _ratio(hits, predicted, empty=truth == 0),  # precision of saying nothing
        "recall": _ratio(hits, truth),
        "f1": _ratio(2 * hits, predicted + truth),
        "f1_25": _ratio(2 * sums["hits25"], predicted + truth),
        "mean_iou": sums["iou"] / sums["n"],
    }


def _means(sums: Sums) -> Sums:
    return {key: value / sums["n"] for key, value in sums.items() if key != "n"}


def _context(prediction: Prediction) -> RewardContext:
    return reward_context(prediction, profile=prediction.profile)


@_kept
def _exact(prediction: Prediction) -> Counts:
    kind = str(prediction.target.get("type", ""))
    right = robust.exact(prediction.completion, _context(prediction))
    return {f"n:{kind}": 1.0, f"right:{kind}": right}


@_kept
def _labels(prediction: Prediction) -> Counts:
    target: Mapping[str, Any] = prediction.target
    truth = {str(label) for label in target.get("labels") or ()}
    vocabulary = [str(entry) for entry in target.get("vocabulary") or sorted(truth)]
    named = set(answers.labels(answers.answer_text(prediction.completion), vocabulary))
    counts: Counts = {
        "n": 1.0,
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
    found = [boxes.enclosing(b) for b in boxes.parse(text, prediction, limit=MAX_BOXES)]
    pairs = boxes.match(truth, found)
    larger = max(len(truth), len(found))
    return {
        "n": 1.0,
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
        for reference in references(prediction.target)
    ] or [0.0]
    return {
        "n": 1.0,
        "rougeL": max(rouge),
        "rougeL_mean": sum(rouge) / len(rouge),
        "levenshtein": paper.levenshtein(prediction.completion, context),
        "caption_f1": robust.caption_f1(prediction.completion, context),
    }


@_kept
def _grounding(prediction: Prediction) -> Counts:
    (value,) = robust.grounded_f1([prediction.completion], [_context(prediction)])
    return {"n": 1.0, "grounded_f1": value}


@_kept
def _format(prediction: Prediction) -> Counts:
    text = prediction.completion
    right = answers.has_think(text) and answers.has_answer(text)
    return {"n": 1.0, "format_rate": float(right)}


def _f1(tp: Any, fp: Any, fn: Any) -> Any:
    return _ratio(2 * tp, 2 * tp + fp + fn)


def _ratio(part: Any, whole: Any, *, empty: Any = 1.0) -> Any:
    """Return part / whole; `empty`, by default 1, where there was nothing to find or say."""
    import numpy as np

    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), empty)
