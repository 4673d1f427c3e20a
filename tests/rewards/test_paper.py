"""Every reward against numbers worked out by hand or by another library."""

from __future__ import annotations

import Levenshtein
import pytest
from sklearn.metrics import f1_score

from geovlm.api import RewardContext
from geovlm.errors import ConfigError
from geovlm.plugins.profiles import QWEN2_5_VL
from geovlm.rewards import boxes as box_rewards
from geovlm.rewards import options, paper, robust
from tests.scored import alone

LABELS = ["Arable land", "Beaches, dunes, sands", "Inland waters", "Pastures"]


def said(answer: str) -> str:
    return f"<think> because </think><answer> {answer} </answer>"


def context(**target: object) -> RewardContext:
    return RewardContext(
        task="test",
        sample_id="1",
        question="",
        answer="",
        target=target,  # type: ignore[arg-type]
        image_sizes=((280, 280),),
        input_sizes=((280, 280),),
        profile=QWEN2_5_VL,
    )


def test_recall_is_the_share_of_true_labels_named() -> None:
    ctx = context(labels=LABELS[:2], vocabulary=LABELS)
    assert paper.recall(said("Arable land; Pastures"), ctx) == 0.5


def test_recall_reads_labels_that_contain_commas() -> None:
    ctx = context(labels=["Beaches, dunes, sands"], vocabulary=LABELS)
    assert paper.recall(said("Beaches, dunes, sands, Pastures"), ctx) == 1.0


def test_recall_does_not_punish_naming_everything() -> None:
    ctx = context(labels=["Pastures"], vocabulary=LABELS)
    assert paper.recall(said("; ".join(LABELS)), ctx) == 1.0


def test_recall_without_truth_wants_no_label() -> None:
    ctx = context(labels=[], vocabulary=LABELS)
    assert paper.recall(said("nothing"), ctx) == 1.0
    assert paper.recall(said("Pastures"), ctx) == 0.0


def test_label_f1_is_the_square_of_scikit_learns() -> None:
    ctx = context(labels=LABELS[:2], vocabulary=LABELS)
    expected = f1_score([1, 1, 0, 0], [1, 0, 0, 1]) ** 2
    assert robust.label_f1(said("Arable land; Pastures"), ctx) == pytest.approx(expected)


def test_naming_every_label_earns_less_than_half_of_the_robust_reward() -> None:
    vocabulary = [f"class {i}" for i in range(10)]
    ctx = context(labels=["class 3"], vocabulary=vocabulary)
    assert robust.label_f1(said("; ".join(vocabulary)), ctx) < 0.5


def test_detection_is_the_mean_best_iou_over_truth() -> None:
    ctx = context(boxes=[[0, 0, 100, 100], [200, 200, 280, 280]])
    # the first box is half covered: 5,000 / 10,000; the second is missed
    assert alone(box_rewards.detection, said("[0, 0, 100, 50]"), ctx) == pytest.approx(0.25)


def test_one_predicted_box_may_serve_two_true_boxes_in_the_paper_reward_only() -> None:
    ctx = context(boxes=[[0, 0, 100, 100], [0, 0, 100, 100]])
    assert alone(box_rewards.detection, said("[0, 0, 100, 100]"), ctx) == 1.0
    assert alone(box_rewards.matched_iou, said("[0, 0, 100, 100]"), ctx) == 0.5


def test_detection_without_truth_wants_no_box() -> None:
    ctx = context(boxes=[])
    assert alone(box_rewards.detection, said("none"), ctx) == 1.0
    assert alone(box_rewards.detection, said("[1, 1, 9, 9]"), ctx) == 0.0
    assert alone(box_rewards.matched_iou, said("none"), ctx) == 1.0
    assert alone(box_rewards.matched_iou, said("[1, 1, 9, 9]"), ctx) == 0.0


def test_a_grid_of_boxes_beats_one_honest_box_in_the_paper_reward_but_not_in_ours() -> None:
    truth = [[x, y, x + 24, y + 24] for x in range(5, 280, 70) for y in range(5, 280, 70)]
    ctx = context(boxes=truth)
    grid = ", ".join(
        f"[{x}, {y}, {x + 28}, {y + 28}]" for x in range(0, 252, 14) for y in range(0, 252, 14)
    )
    honest = said("[5, 5, 29, 29]")
    assert alone(box_rewards.detection, said(grid), ctx) > alone(box_rewards.detection, honest, ctx)
    assert alone(box_rewards.matched_iou, said(grid), ctx) < 0.5


def test_a_rotated_truth_becomes_its_enclosing_box_or_loses_its_angle() -> None:
    target = {"boxes": [[100, 120, 180, 160, 90.0]]}
    turned = said("[120, 100, 160, 180]")
    assert alone(box_rewards.detection, turned, context(**target)) == pytest.approx(1.0)
    dropped = RewardContext(
        task="test",
        sample_id="1",
        question="",
        answer="",
        target=target,  # type: ignore[arg-type]
        image_sizes=((280, 280),),
        input_sizes=((280, 280),),
        profile=QWEN2_5_VL,
        options={"hbb": "drop"},
    )
    assert alone(box_rewards.detection, said("[100, 120, 180, 160]"), dropped) == pytest.approx(1.0)


def test_levenshtein_takes_the_nearest_reference() -> None:
    ctx = context(captions=["a river", "two ships in a harbour"])
    expected = Levenshtein.ratio("two ships at a harbour", "two ships in a harbour")
    assert paper.levenshtein(said("Two ships at a harbour."), ctx) == pytest.approx(expected)


def test_jaccard_counts_words() -> None:
    assert paper.jaccard(said("yes, no"), context(answer="yes")) == 0.5
    assert paper.jaccard(said("Yes."), context(answer="yes")) == 1.0


def test_exact_refuses_two_answers() -> None:
    ctx = context(answer="yes", vocabulary=["yes", "no"])
    assert robust.exact(said("yes"), ctx) == 1.0
    assert robust.exact(said("yes, no"), ctx) == 0.0


def test_exact_compares_numbers_by_value() -> None:
    assert robust.exact(said("2.0"), context(answer="2")) == 1.0
    assert robust.exact(said("1,234"), context(answer="1234")) == 1.0
    assert robust.exact(said("2 or 3"), context(answer="3")) == 0.0


def test_caption_facts_cannot_be_earned_by_a_template() -> None:
    ctx = context(
        captions=["There has been a fire disaster that resulted in two damaged buildings."],
        facts={"type": "fire", "count": "two"},
        fact_vocabularies={"type": ["fire", "flood", "wind"], "count": ["one", "two", "many"]},
    )
    assert robust.caption_f1(said("a fire, two damaged buildings"), ctx) == 1.0
    assert robust.caption_f1(said("a fire, many damaged buildings"), ctx) == 0.25
    assert robust.caption_f1(said("fire flood wind one two many"), ctx) == 0.0


def test_grounded_reward_needs_text_and_boxes() -> None:
    ctx = context(text="two ships near the pier", boxes=[[10, 10, 60, 60]])
    assert alone(robust.grounded_f1, said("two ships near the pier"), ctx) == 0.0
    assert alone(robust.grounded_f1, said("[10, 10, 60, 60]"), ctx) == 0.0
    both = said("two ships near the pier [10, 10, 60, 60]")
    assert alone(robust.grounded_f1, both, ctx) == pytest.approx(1.0)
    assert alone(paper.lmgr, both, ctx) == pytest.approx(1.0)


def test_no_answer_block_earns_no_accuracy() -> None:
    ctx = context(labels=["Pastures"], vocabulary=LABELS, answer="Pastures")
    assert paper.recall("Pastures", ctx) == 0.0
    assert robust.exact("Pastures", ctx) == 0.0


def test_unknown_reward_options_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"reward_options\.hbbb"):
        options.validate({"hbbb": "drop"})
    with pytest.raises(ConfigError, match="enclosing, drop"):
        options.validate({"hbb": "tight"})


def test_sbert_knows_paraphrases_from_other_topics() -> None:
    ctx = context(captions=["many planes are parked at the airport"])
    near, far, empty = paper.sbert(
        [said("airplanes standing at an airport"), said("a quiet forest"), said(" ")], [ctx] * 3
    )
    assert near > 0.6 > far
    assert empty == 0.0


def test_sbert_of_the_reference_itself_is_one() -> None:
    ctx = context(captions=["many planes are parked at the airport"])
    values = paper.sbert([said("many planes are parked at the airport")], [ctx])
    assert values == [pytest.approx(1.0, abs=1e-5)]
