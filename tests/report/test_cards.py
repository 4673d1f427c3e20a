"""Which samples a page shows, and what a card says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from geovlm.report import cards
from geovlm.report.cards import Chosen

WEIGHTS = {"matched_iou": 1.0}


def record(**more: Any) -> dict[str, Any]:
    """An answer about one image, with a box in it."""
    return {
        "task": "xbd/refer",
        "sample_id": "a",
        "images": [],
        "question": "Where? First reason in <think> </think>, then answer in <answer> </answer>.",
        "completion": "<think> There. </think><answer> [10, 20, 30, 40] </answer>",
        "answer": "[10, 20, 30, 50]",
        "target": {"boxes": [[10, 20, 30, 50]]},
        "image_sizes": [[100, 100]],
        "input_sizes": [[50, 50]],
        "profile": "qwen2.5-vl",
        "rewards": {"format/think": 1.0, "matched_iou": 0.5, "detection": 0.75},
        **more,
    }


def test_the_score_is_the_robust_reward() -> None:
    assert cards.score(record(), weights=WEIGHTS) == 0.5


def test_without_the_plugin_all_accuracy_rewards_count() -> None:
    assert cards.score(record(), weights={}) == 0.625


def test_an_answer_without_accuracy_rewards_has_no_score() -> None:
    bare = record(rewards={"format/think": 1.0, "matched_iou": None})
    assert cards.score(bare, weights=WEIGHTS) is None


def test_an_outcome_compares_the_last_answer_with_the_first() -> None:
    assert cards.outcome([0.0, 0.2, 0.5]) == "now right"
    assert cards.outcome([0.4, 0.9, 0.3]) == "still wrong"
    assert cards.outcome([0.9, 0.1]) == "now wrong"
    assert cards.outcome([0.9, 0.5]) == "still right"
    assert cards.outcome([0.5]) == "right"
    assert cards.outcome([None, 0.5]) == "not scored"


def test_improved_wrong_and_worst_samples_are_chosen_once_each() -> None:
    scores = {
        "kept": [1.0, 1.0],
        "risen": [0.25, 0.75],
        "best": [0.0, 1.0],
        "missed": [0.25, 0.25],
        "lost": [1.0, 0.0],
    }
    assert cards.choose(scores) == [
        Chosen("best", "most improved"),
        Chosen("risen", "now right"),
        Chosen("missed", "still wrong"),
        Chosen("lost", "worst"),
    ]


def test_samples_with_one_answer_are_a_right_and_two_wrong_ones() -> None:
    scores = {"a": [0.4], "b": [0.0], "c": [1.0], "d": [0.2], "e": [0.9]}
    assert cards.choose(scores) == [
        Chosen("c", "right"),
        Chosen("b", "wrong"),
        Chosen("d", "wrong"),
        Chosen("a", "worst"),
    ]


def test_samples_without_scores_are_still_shown() -> None:
    assert cards.choose({"a": [None], "b": [None], "c": [None]}) == [
        Chosen("a", "not scored"),
        Chosen("b", "not scored"),
    ]


def test_a_page_alternates_tasks_and_reasons() -> None:
    own = [Chosen("1", "most improved"), Chosen("2", "now right"), Chosen("3", "worst")]
    order = [(task, each.sample_id) for task, each in cards.mixed({"a": own, "b": own})]
    assert order == [("a", "1"), ("b", "2"), ("a", "2"), ("b", "3"), ("a", "3"), ("b", "1")]


def test_a_card_has_boxes_in_pixels_of_the_stored_image() -> None:
    made = cards.card({"SFT": record()}, why="right", weights=WEIGHTS)
    assert made.truth == ("10.0,20.0 30.0,20.0 30.0,50.0 10.0,50.0",)
    assert made.answers[0].outlines == ("20.0,40.0 60.0,40.0 60.0,80.0 20.0,80.0",)
    assert (made.question, made.answers[0].think, made.answers[0].right) == (
        "Where?",
        "There.",
        True,
    )


def test_a_picture_is_made_smaller_and_its_stored_size_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.new("RGB", (400, 200)).save(path)
    seen = cards.card({"SFT": record(images=[str(path), "/gone.png"])}, why="", weights={})
    small = cards.card({"SFT": record(images=[str(path)])}, why="", weights={}, longest_px=40)
    assert seen.pictures[0] is not None
    assert small.pictures[0] is not None
    assert seen.pictures[0][1:] == small.pictures[0][1:] == (400, 200)
    assert len(small.pictures[0].uri) < len(seen.pictures[0].uri)
    assert seen.pictures[1] is None


def test_a_long_text_is_cut_and_says_so() -> None:
    long = record(completion="x" * 30_000)
    (answer,) = cards.card({"SFT": long}, why="", weights={}).answers
    assert len(answer.completion) < cards.COMPLETION_CHARS + 40
    assert answer.completion.endswith("x … 27,000 more characters")
