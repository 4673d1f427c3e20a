"""Corpus metrics against scikit-learn and hand-made numbers; intervals against simulation."""

from __future__ import annotations

import random

import pytest
from sklearn.metrics import f1_score, recall_score

from geovlm.score import bootstrap
from tests.scored import measured

LABELS = ["a1", "b2", "c3"]


def said(answer: str) -> str:
    return f"<think> x </think><answer> {answer} </answer>"


def test_accuracy_by_type_and_their_mean(prediction) -> None:
    predictions = [
        prediction(said("yes"), target={"answer": "yes", "type": "presence"}),
        prediction(said("no"), target={"answer": "yes", "type": "presence"}),
        prediction(said("3"), target={"answer": "3", "type": "count"}),
    ]
    scores = measured("accuracy", predictions)
    assert scores["accuracy"] == pytest.approx(2 / 3)
    assert scores["accuracy/presence"] == 0.5
    assert scores["accuracy/mean_type"] == 0.75


def test_label_scores_agree_with_scikit_learn(prediction) -> None:
    truth = [["a1", "b2"], ["c3"], ["a1"]]
    named = [["a1"], ["c3", "b2"], ["b2"]]
    predictions = [
        prediction(said("; ".join(n)), target={"labels": t, "vocabulary": LABELS})
        for t, n in zip(truth, named, strict=True)
    ]
    y_true = [[int(label in t) for label in LABELS] for t in truth]
    y_pred = [[int(label in n) for label in LABELS] for n in named]
    scores = measured("labels", predictions)
    for average in ("micro", "macro", "samples"):
        key = "sample_f1" if average == "samples" else f"{average}_f1"
        expected = f1_score(y_true, y_pred, average=average, zero_division=0)
        assert scores[key] == pytest.approx(expected)
    expected = recall_score(y_true, y_pred, average="samples", zero_division=0)
    assert scores["recall"] == pytest.approx(expected)
    assert scores["exact_set"] == 0.0


def test_the_format_of_a_task_without_reasoning_is_its_answer_block(prediction) -> None:
    alone = "<answer> yes </answer>"
    asked = [prediction(alone, reasoning=form) for form in ("none", "think")]
    assert [measured("format", [each])["format_rate"] for each in asked] == [1.0, 0.0]


def test_detection_counts_one_to_one(prediction) -> None:
    target = {"boxes": [[0, 0, 100, 100], [150, 150, 250, 250]]}
    twice = prediction(said("[0, 0, 100, 100], [0, 0, 100, 100]"), target=target)
    scores = measured("detection", [twice])
    assert scores["precision"] == 0.5
    assert scores["recall"] == 0.5
    assert scores["f1"] == 0.5


def test_saying_nothing_has_no_precision_where_there_was_something(prediction) -> None:
    silent = prediction(said("none"), target={"boxes": [[0, 0, 9, 9]]})
    assert measured("detection", [silent])["precision"] == 0.0
    assert measured("detection", [silent])["f1"] == 0.0


def test_metrics_of_gold_answers_are_perfect(prediction) -> None:
    right = prediction(said("[0, 0, 100, 100]"), target={"boxes": [[0, 0, 100, 100]]})
    assert set(measured("detection", [right]).values()) == {1.0}
    caption = prediction(said("two ships"), target={"captions": ["two ships"]})
    assert measured("caption", [caption])["rougeL"] == 1.0
    assert measured("format", [caption])["format_rate"] == 1.0


def mean(chosen):
    return {"mean": sum(chosen) / len(chosen)}


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = random.Random(7)
    covered = 0
    for trial in range(300):
        items = [float(rng.random() < 0.3) for _ in range(120)]
        statistic = bootstrap.of_items(mean, items)
        low, high = bootstrap.intervals(statistic, resamples=200, seed=trial)["mean"]
        covered += low <= 0.3 <= high
    assert 0.91 <= covered / 300 <= 0.98  # 95 % within two standard errors of 300 trials


def test_clustered_data_give_wider_intervals() -> None:
    items = [float(i // 20 % 2) for i in range(200)]
    clusters = [i // 20 for i in range(200)]
    flat = bootstrap.intervals(bootstrap.of_items(mean, items), seed=1)["mean"]
    whole = bootstrap.of_items(mean, items, clusters=clusters)
    grouped = bootstrap.intervals(whole, seed=1)["mean"]
    assert grouped[1] - grouped[0] > 2 * (flat[1] - flat[0])


@pytest.mark.parametrize(
    "completion", ["", "<answer></answer>", "nothing", "<answer> none </answer>"]
)
def test_no_answer_is_wrong_where_there_is_nothing_to_find(prediction, completion: str) -> None:
    answered = float("none" in completion)
    labels = measured(
        "labels", [prediction(completion, target={"labels": [], "vocabulary": LABELS})]
    )
    assert set(labels.values()) == {answered}
    found = measured("detection", [prediction(completion, target={"boxes": []})])
    assert set(found.values()) == {answered}


@pytest.mark.parametrize(
    "caption", ["三艘船停在码头", "เรือสามลำ", "तीन जहाज", "ثلاث سفن", "la forêt"]
)
def test_a_right_caption_of_any_script_has_rouge_one(prediction, caption: str) -> None:
    scores = measured("caption", [prediction(said(caption), target={"captions": [caption]})])
    assert scores["rougeL"] == scores["caption_f1"] == scores["levenshtein"] == 1.0


CHANGED = {"changed": True, "captions": ["a road is built"]}
SAME = {"changed": False, "captions": ["there is no difference"]}


def test_captions_of_changes_are_measured_in_both_halves(prediction) -> None:
    scores = measured(
        "change",
        [
            prediction(said("a road is built"), target=CHANGED),
            prediction(said("nothing has changed"), target=CHANGED),
            prediction(said("there is no difference"), target=SAME),
        ],
    )
    assert scores["rougeL"] == pytest.approx(2 / 3)
    assert (scores["rougeL/change"], scores["rougeL/no_change"]) == (0.5, 1.0)
    assert scores["rougeL/halves"] == 0.75
    assert scores["accuracy/change"] == 0.5
    assert scores["accuracy/no_change"] == 1.0
    assert scores["caption_f1/change"] == 0.5


def test_a_half_without_samples_does_not_count(prediction) -> None:
    scores = measured("change", [prediction(said("a road is built"), target=CHANGED)])
    assert scores["rougeL/halves"] == 1.0
    assert "rougeL/no_change" not in scores


def test_no_answer_is_right_in_neither_half(prediction) -> None:
    both = [prediction("", target=CHANGED), prediction("", target=SAME)]
    scores = measured("change", both)
    assert (scores["accuracy/change"], scores["accuracy/no_change"]) == (0.0, 0.0)
