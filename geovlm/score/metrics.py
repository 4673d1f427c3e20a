"""The built-in corpus metrics. They are strict: one answer, one-to-one boxes, both kinds of error.

A completion without an answer is wrong, also where there is nothing to name or to find.
Each is a pair of functions: `*_counts` gives the numbers of one prediction, the other one turns
their sums over all predictions into scores. The numbers of a prediction are computed once and kept
while the prediction lives, so that the bootstrap only adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from geovlm import answers, boxes
from geovlm.api import Prediction, RewardContext
from geovlm.data.prompts import reward_context
from geovlm.rewards import paper, robust
from geovlm.rewards.reading import MAX_BOXES, references
from geovlm.rewards.text import rouge_l

Counts = dict[str, float]
Sums = Mapping[str, Any]
"""Sums over samples: numpy arrays of one shape, one entry per resample; see `MetricSpec.finish`."""


def kept(function: Callable[[Prediction], Counts]) -> Callable[[Prediction], Counts]:
    """Remember the result per prediction, by identity, as long as it lives."""
    known: WeakKeyDictionary[Prediction, Counts] = WeakKeyDictionary()

    def remembered(prediction: Prediction) -> Counts:
        if prediction not in known:
            known[prediction] = function(prediction)
        return known[prediction]

    return remembered


def accuracies(sums: Sums) -> Sums:
    """Accuracies, 0 to 1, of `exact_counts`: the share of answers that are exactly the correct one.

    `accuracy` is over all answers (OA); with `target["type"]` also `accuracy/<type>` and their
    unweighted mean `accuracy/mean_type` (AA).
    """
    import numpy as np

    kinds = sorted(key.removeprefix("n:") for key in sums if key.startswith("n:"))
    right = sum(sums[f"right:{kind}"] for kind in kinds)
    result = {"accuracy": right / sum(sums[f"n:{kind}"] for kind in kinds)}
    typed = {k: _ratio(sums[f"right:{k}"], sums[f"n:{k}"], empty=np.nan) for k in kinds if k}
    if typed:
        present = sum(sums[f"n:{kind}"] > 0 for kind in typed)
        total = sum(np.nan_to_num(value) for value in typed.values())
        result["accuracy/mean_type"] = _ratio(total, present, empty=np.nan)
        result.update({f"accuracy/{kind}": value for kind, value in typed.items()})
    return result


def label_scores(sums: Sums) -> Sums:
    """Multi-label scores, 0 to 1: `sample_f1`, `micro_f1`, `macro_f1`, `recall`, `exact_set`.

    `recall` is per sample; `macro_f1` is over the labels that occur in truth or predictions; a
    sample without any label on either side counts as right if it is answered. Without any label in
    the corpus `micro_f1` and `macro_f1` are 1, or 0 if a sample is not answered.
    """
    n, answered = sums["n"], sums["silent"] == 0
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
        "micro_f1": _f1(*micro, empty=answered),
        "macro_f1": _ratio(macro, sum(occurring, nothing), empty=answered),
        "recall": sums["recall"] / n,
        "exact_set": sums["exact"] / n,
    }


def box_scores(sums: Sums) -> Sums:
    """One-to-one box scores, 0 to 1: `precision`, `recall`, `f1`, `f1_25`, `mean_iou`.

    The first three are at IoU 0.5, `f1_25` is at 0.25, all of counts summed over the corpus;
    `mean_iou` is the mean over samples of the matched IoU: the reward `matched_iou`, but 0 for a
    sample that is not answered.
    """
    truth, predicted, hits = sums["truth"], sums["predicted"], sums["hits"]
    answered = sums["silent"] == 0
    return {
        "precision": _ratio(hits, predicted, empty=answered & (truth == 0)),  # 1 if that is right
        "recall": _ratio(hits, truth, empty=answered),
        "f1": _ratio(2 * hits, predicted + truth, empty=answered),
        "f1_25": _ratio(2 * sums["hits25"], predicted + truth, empty=answered),
        "mean_iou": sums["iou"] / sums["n"],
    }


def means(sums: Sums) -> Sums:
    """Means over samples of everything counted."""
    return {key: value / sums["n"] for key, value in sums.items() if key != "n"}


def _context(prediction: Prediction) -> RewardContext:
    return reward_context(prediction, profile=prediction.profile)


@kept
def exact_counts(prediction: Prediction) -> Counts:
    """1 if the answer is the correct answer and only that (the reward `exact`), by type, else 0."""
    kind = str(prediction.target.get("type", ""))
    right = robust.exact(prediction.completion, _context(prediction))
    return {f"n:{kind}": 1.0, f"right:{kind}": right}


@kept
def label_counts(prediction: Prediction) -> Counts:
    """Named and true labels of one sample."""
    target: Mapping[str, Any] = prediction.target
    truth = {str(label) for label in target.get("labels") or ()}
    vocabulary = [str(entry) for entry in target.get("vocabulary") or sorted(truth)]
    said = answers.answer_text(prediction.completion)
    named = set(answers.labels(said, vocabulary))
    both, total = len(truth & named), len(truth) + len(named)
    counts: Counts = {
        "n": 1.0,
        "f1": 2 * both / total if total else float(bool(said)),
        "recall": both / len(truth) if truth else float(bool(said) and not named),
        "exact": float(bool(said) and truth == named),
        "silent": float(not said),
    }
    counts.update({f"tp:{label}": 1.0 for label in truth & named})
    counts.update({f"fp:{label}": 1.0 for label in named - truth})
    counts.update({f"fn:{label}": 1.0 for label in truth - named})
    return counts


@kept
def box_counts(prediction: Prediction) -> Counts:
    """Matched boxes of one sample; rotated boxes are replaced by their enclosing boxes."""
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
        "silent": float(not text),
        "iou": sum(value for _, _, value in pairs) / larger if larger else float(bool(text)),
    }


@kept
def caption_counts(prediction: Prediction) -> Counts:
    """Caption scores of one sample, 0 to 1, against all its references.

    `rougeL` (best reference), `rougeL_mean` (mean over references), `levenshtein` (best reference),
    `caption_f1` (the reward of that name). ROUGE is rouge-score's with stemming, of words of any
    script.
    """
    text = answers.answer_text(prediction.completion)
    context = _context(prediction)
    rouge = [rouge_l(text, reference) for reference in references(prediction.target)] or [0.0]
    return {
        "n": 1.0,
        "rougeL": max(rouge),
        "rougeL_mean": sum(rouge) / len(rouge),
        "levenshtein": paper.levenshtein(prediction.completion, context),
        "caption_f1": robust.caption_f1(prediction.completion, context),
    }


@kept
def change_counts(prediction: Prediction) -> Counts:
    """`caption_counts` of one sample, and what `change_scores` needs of its half."""
    scores = caption_counts(prediction)
    half = "change" if prediction.target.get("changed") else "no_change"
    text = answers.answer_text(prediction.completion)
    states = "no_change" if answers.says_unchanged(text) else "change" if text else ""
    own = {name: scores[name] for name in ("rougeL", "caption_f1")} | {"accuracy": states == half}
    return {
        **scores,
        f"n/{half}": 1.0,
        **{f"{name}/{half}": float(value) for name, value in own.items()},
    }


def change_scores(sums: Sums) -> Sums:
    """Scores of captions of changes, 0 to 1, of `change_counts`.

    Those of the metric `caption`; `rougeL/…`, `caption_f1/…` and `accuracy/…` of changed samples
    (`…/change`), of unchanged ones (`…/no_change`), and their mean (`…/halves`; the only half if
    the other has no sample). `accuracy` is of stating whether anything changed.
    """
    import numpy as np

    number = {half: sums.get(f"n/{half}", 0.0 * sums["n"]) for half in ("change", "no_change")}
    result = {name: sums[name] / sums["n"] for name in sums if "/" not in name and name != "n"}
    for name in ("rougeL", "caption_f1", "accuracy"):
        of = {
            half: _ratio(sums.get(f"{name}/{half}", 0.0 * n), n, empty=np.nan)
            for half, n in number.items()
        }
        result.update({f"{name}/{half}": value for half, value in of.items()})
        first, second = of["change"], of["no_change"]
        mean = (first + second) / 2
        result[f"{name}/halves"] = np.where(
            np.isnan(first), second, np.where(np.isnan(second), first, mean)
        )
    return result


@kept
def grounding_counts(prediction: Prediction) -> Counts:
    """The reward `grounded_f1` of one sample: text and boxes together."""
    (value,) = robust.grounded_f1([prediction.completion], [_context(prediction)])
    return {"n": 1.0, "grounded_f1": value}


@kept
def format_counts(prediction: Prediction) -> Counts:
    """1 if the tag blocks that the task asks for are well-formed: `format_rate`, else 0."""
    right = answers.well_formed(prediction.completion, thinks=prediction.reasoning == "think")
    return {"n": 1.0, "format_rate": float(right)}


def _f1(tp: Any, fp: Any, fn: Any, *, empty: Any = 1.0) -> Any:
    return _ratio(2 * tp, 2 * tp + fp + fn, empty=empty)


def _ratio(part: Any, whole: Any, *, empty: Any = 1.0) -> Any:
    """Return part / whole; `empty`, by default 1, where whole is 0."""
    import numpy as np

    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), empty)
