"""VRSBench's scores, worked out by hand."""

from __future__ import annotations

import pytest

from geovlm.score.protocols.vrsbench import Asked, by_text, by_words, iou


def test_a_box_covers_its_last_column_and_row() -> None:
    truth, found = (25, 40, 33, 60), (25, 40, 33, 49)
    # 9 x 21 and 9 x 10 cells, of which 90 are shared
    assert iou(truth, found, last=1) == pytest.approx(90 / 189)
    assert iou(truth, found, last=0) == pytest.approx(72 / 160)
    assert iou((5, 5, 5, 9), (5, 5, 5, 9), last=1) == 1.0
    assert iou((10, 10, 20, 20), (20, 20, 10, 10), last=1) == 0.0


@pytest.mark.parametrize(
    ("truth", "answer", "decided"),
    [
        ("yes", "yes, there is", True),  # the truth is part of it
        ("2", "12", True),  # also here
        ("yes", "no", False),
        ("two", "2", None),
        ("ground track field", "playground", None),
    ],
)
def test_texts_decide_before_the_judge(truth: str, answer: str, decided: bool | None) -> None:
    assert by_text(Asked(answer, truth, "all")) is decided


@pytest.mark.parametrize(
    ("truth", "answer", "right"),
    [
        ("ground track field", "a playground", True),
        ("swimming pool", "ponds", True),
        ("small vehicles", "vehicle that is small", True),
        ("white", "grey", False),
        ("bottom left", "left", False),
    ],
)
def test_words_decide_in_place_of_the_judge(truth: str, answer: str, right: bool) -> None:
    assert by_words(Asked(answer, truth, "all")) is right


def test_questions_are_scored_by_type_and_the_judged_share_is_told(score) -> None:
    rows = [
        {"answer": "Yes", "ground_truth": "yes", "type": "object existence"},
        {"answer": "a pond", "ground_truth": "Swimming pool", "type": "object category"},
        {"answer": "city", "ground_truth": "urban", "type": "rural or urban"},
        {"answer": "urban", "ground_truth": "Urban", "type": "image"},
    ]
    made = score("vrsbench/vqa", *rows)
    assert made.published["scene type"] == 0.5
    assert (made.published["all"], made.strict["all"]) == (0.75, 0.5)
    assert made.published["mean_type"] == pytest.approx(5 / 6)
    assert made.notes == [
        "GPT-4o-mini would judge 2 of 4 answers (50.0%); here an answer with every word of the "
        "truth counts as right"
    ]


def test_boxes_are_scored_for_unique_objects_and_others(score) -> None:
    truth = "{<25><40><33><60>}"
    rows = [
        {"answer": truth, "ground_truth": truth, "is_unique": True},
        {"answer": "{<25><40><33><53>}", "ground_truth": truth, "is_unique": False},
        {"answer": "none", "ground_truth": truth, "is_unique": False},
    ]
    made = score("vrsbench/refer", *rows)
    # 9 x 14 of 9 x 21 cells are two thirds
    assert made.published["acc50/unique"] == made.published["acc70/unique"] == 1.0
    assert (made.published["acc50/non_unique"], made.published["acc70/non_unique"]) == (0.5, 0.0)
    assert made.published["acc50"] == pytest.approx(2 / 3)
    assert made.published["mean_iou"] == pytest.approx((1 + 2 / 3) / 3)


def test_our_boxes_become_whole_hundredths(score, own) -> None:
    target = {"boxes": [[25, 40, 33, 60]], "hundredths": [25, 40, 33, 60], "unique": True}
    rows = [
        own("t/t", said, **target) for said in ("[25, 40, 33, 60]", "[25, 40, 33, 60] [1, 2, 3, 4]")
    ]
    made = score("vrsbench/refer", *rows)
    assert (made.published["acc70"], made.strict["acc70"]) == (1.0, 0.5)


def test_a_caption_has_no_halves(score) -> None:
    row = {"answer": "a grey road", "ground_truth": "A grey road crosses a field."}
    made = score("vrsbench/caption", row, row | {"answer": "A grey road crosses a field."})
    assert {"bleu1", "bleu4", "rougeL", "cider"} <= set(made.published)
    assert not [name for name in (*made.published, *made.strict) if "/" in name or "acc" in name]
    assert made.strict["exact"] == 0.5
