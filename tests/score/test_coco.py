"""mAP of labelled boxes against pycocotools, whose ties are put in the stated order."""

from __future__ import annotations

import contextlib
import io
import random
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from geovlm import boxes
from geovlm.boxes import Box, Labelled
from geovlm.score import bootstrap, coco
from tests.scored import measured

LABELS = ["bus", "car", "ship"]
Objects = list[tuple[str, tuple[int, int, int, int]]]


def drawn(seed: int, *, images: int) -> list[tuple[Objects, Objects]]:
    """True and predicted objects of images: some are found, some moved, mislabelled or invented."""
    rng = random.Random(seed)

    def one() -> tuple[str, tuple[int, int, int, int]]:
        x, y = rng.randrange(220), rng.randrange(220)
        return rng.choice(LABELS[:2]), (x, y, x + rng.randrange(8, 60), y + rng.randrange(8, 60))

    found = []
    for _ in range(images):
        truth = [one() for _ in range(rng.randrange(6))]
        said = [
            (
                rng.choice([label, label, rng.choice(LABELS)]),
                tuple(v + rng.randrange(4) for v in box),
            )
            for label, box in truth
            if rng.random() < 0.8
        ]
        said += [one() for _ in range(rng.randrange(3))]
        rng.shuffle(said)
        found.append((truth, said))
    return found


def reference(many: list[tuple[Objects, Objects]]) -> dict[str, float]:
    """pycocotools on the same objects, with one score for all and wrong boxes first among them."""

    def rows(which: int) -> list[dict[str, Any]]:
        listed = [(i, *each) for i, pair in enumerate(many) for each in pair[which]]
        return [
            {
                "id": number,
                "image_id": image,
                "category_id": LABELS.index(label),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": (x1 - x0) * (y1 - y0),
                "iscrowd": 0,
                "score": 1.0,
            }
            for number, (image, label, (x0, y0, x1, y1)) in enumerate(listed, 1)
        ]

    truth = COCO()
    truth.dataset = {
        "images": [{"id": i} for i in range(len(many))],
        "categories": [{"id": i} for i in range(len(LABELS))],
        "annotations": rows(0),
    }
    values = []
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        said = truth.loadRes(rows(1))
        for least in coco.IOUS:
            run = COCOeval(truth, said, "bbox")
            run.params.iouThrs = np.array([least])
            run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
            run.params.maxDets = [100]
            run.evaluate()
            for each in run.evalImgs:
                if each is not None:
                    each["dtScores"] = 1 - np.minimum(each["dtMatches"][0], 1)
            run.accumulate()
            values.append(run.eval["precision"][0, :, :, 0, 0].mean(axis=0))
    table = np.array(values)
    present = table[:, table[0] >= 0]
    by_label = {f"map/{LABELS[i]}": each.mean() for i, each in enumerate(table.T) if each[0] >= 0}
    return {"map": present.mean(), "map50": present[0].mean(), **by_label}


def answered(prediction: Any, many: list[tuple[Objects, Objects]]) -> list[Any]:
    made = []
    for truth, said in many:
        target = {
            "boxes": [list(box) for _, box in truth],
            "box_labels": [label for label, _ in truth],
            "vocabulary": LABELS,
        }
        bare = prediction("", target=target)
        text = boxes.write_labelled([Labelled(Box(*box), label) for label, box in said], bare)
        made.append(prediction(f"<answer> {text} </answer>", target=target))
    return made


@pytest.mark.parametrize("seed", range(3))
def test_map_agrees_with_pycocotools(prediction, seed: int) -> None:
    many = drawn(seed, images=40)
    scores = measured("coco", answered(prediction, many))
    expected = reference(many)
    assert 0.1 < expected["map"] < 0.9
    assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert "map/ship" not in scores  # no ship is true: it is no part of the mean


def test_the_order_of_the_images_changes_nothing(prediction) -> None:
    found = answered(prediction, drawn(1, images=20))
    assert measured("coco", found) == pytest.approx(measured("coco", found[::-1]))


def test_correct_answers_score_one(prediction) -> None:
    many = [(truth, truth) for truth, _ in drawn(2, images=10)]
    scores = measured("coco", answered(prediction, many))
    assert {scores[name] for name in ("map", "map50", "map/car", "labelled_iou")} == {1.0}


def test_a_sample_without_an_answer_earns_no_labelled_iou(prediction) -> None:
    nothing = {"boxes": [], "box_labels": [], "vocabulary": LABELS}
    assert measured("coco", [prediction("none", target=nothing)])["labelled_iou"] == 0.0
    said = prediction("<answer>none</answer>", target=nothing)
    assert measured("coco", [said]) == {"labelled_iou": 1.0}


def test_boxes_of_one_label_need_no_names(prediction) -> None:
    target = {"boxes": [[0, 0, 100, 100]], "label": "car"}
    scores = measured("coco", [prediction("<answer>[0, 0, 100, 100]</answer>", target=target)])
    assert scores == {"map": 1.0, "map50": 1.0, "map/car": 1.0, "map50/car": 1.0}


def test_the_bootstrap_sums_counts(prediction) -> None:
    counts = [coco.box_counts(each) for each in answered(prediction, drawn(3, images=30))]
    statistic = bootstrap.of_sums(counts, coco.box_scores)
    low, high = bootstrap.intervals(statistic, resamples=200)["map50"]
    weights = np.zeros((1, 30))
    weights[0, :10] = 2  # ten images, each twice, are a corpus of twenty
    chosen = answered(prediction, drawn(3, images=30)[:10])
    assert statistic.at(weights)["map"][0] == pytest.approx(measured("coco", chosen * 2)["map"])
    assert low < measured("coco", answered(prediction, drawn(3, images=30)))["map50"] < high
