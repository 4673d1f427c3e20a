"""What a policy without sight can earn: much of the paper set, little of the robust one."""

from __future__ import annotations

from typing import Any

import pytest

from geovlm.rewards import boxes as box_rewards
from geovlm.rewards import paper, robust
from tests.scored import alone

VOCABULARY = [f"class {letter}" for letter in "abcdefghijklmnopqrs"]


def said(answer: str) -> str:
    return f"<think> because </think><answer> {answer} </answer>"


def test_naming_all_nineteen_labels_is_perfect_recall_and_poor_f1(reward_ctx) -> None:
    ctx = reward_ctx(target={"labels": VOCABULARY[:3], "vocabulary": VOCABULARY})
    everything = said("; ".join(VOCABULARY))
    assert paper.recall(everything, ctx) == 1.0
    assert robust.label_f1(everything, ctx) == pytest.approx((2 * 3 / (3 + 19)) ** 2)


def test_a_grid_beats_honesty_on_a_crowded_image_in_the_paper_set_only(reward_ctx) -> None:
    truth = [[x, y, x + 30, y + 30] for x in range(0, 280, 40) for y in range(0, 280, 40)]
    ctx = reward_ctx(target={"boxes": truth})
    steps = range(0, 280, 20)
    grid = said(", ".join(f"[{x}, {y}, {x + 30}, {y + 30}]" for x in steps for y in steps))
    honest = said(", ".join(str(box) for box in truth[:10]))
    assert alone(box_rewards.detection, grid, ctx) > alone(box_rewards.detection, honest, ctx)
    assert alone(box_rewards.matched_iou, grid, ctx) < 0.5


def test_one_box_over_the_whole_image_earns_little_where_objects_are_small(reward_ctx) -> None:
    ctx = reward_ctx(target={"boxes": [[10, 10, 40, 40], [100, 100, 130, 130]]})
    whole = said("[0, 0, 280, 280]")
    assert alone(box_rewards.detection, whole, ctx) == pytest.approx(900 / 280**2)
    assert alone(box_rewards.matched_iou, whole, ctx) < 0.5


@pytest.mark.parametrize("answer", ["yes no", "no, yes", "yes or no", "yes/no"])
def test_both_answers_at_once_earn_half_the_jaccard_and_nothing_exact(reward_ctx, answer) -> None:
    ctx = reward_ctx(target={"answer": "yes", "vocabulary": ["yes", "no"]})
    assert paper.jaccard(said(answer), ctx) <= 0.5
    assert robust.exact(said(answer), ctx) == 0.0
    open_answer = reward_ctx(target={"answer": "yes"})
    assert robust.exact(said(answer), open_answer) == 0.0


def xbd(kind: str, count: str) -> dict[str, Any]:
    caption = f"There has been a {kind} disaster that resulted in {count} damaged buildings."
    return {
        "captions": [caption],
        "facts": {"kind": kind, "count": count},
        "fact_vocabularies": {
            "kind": ["fire", "flood", "wind", "earthquake"],
            "count": ["no", "few", "several", "many"],
        },
    }


def test_a_constant_caption_earns_most_of_levenshtein_and_under_half_of_the_facts(
    reward_ctx,
) -> None:
    kinds, counts = ("fire", "flood", "wind", "earthquake"), ("no", "few", "several", "many")
    contexts = [reward_ctx(target=xbd(kind, count)) for kind in kinds for count in counts]
    constant = said("There has been a fire disaster that resulted in many damaged buildings.")
    published = [paper.levenshtein(constant, ctx) for ctx in contexts]
    strict = [robust.caption_f1(constant, ctx) for ctx in contexts]
    assert sum(published) / len(published) > 0.8
    assert sum(strict) / len(strict) < 0.5


def test_listing_every_value_states_no_fact(reward_ctx) -> None:
    ctx = reward_ctx(target=xbd("flood", "few"))
    assert robust.caption_f1(said("fire flood wind earthquake no few several many"), ctx) == 0.0


def test_a_copied_question_earns_under_half_of_a_free_caption(reward_ctx) -> None:
    ctx = reward_ctx(target={"captions": ["Two white storage tanks stand beside a river."]})
    assert robust.caption_f1(said("Describe the image in one sentence."), ctx) < 0.5


def test_a_perfect_caption_without_boxes_earns_half_of_lmgr_and_no_grounding(reward_ctx) -> None:
    ctx = reward_ctx(target={"text": "two ships at a pier", "boxes": [[10, 10, 60, 60]]})
    blind = said("two ships at a pier")
    assert alone(paper.lmgr, blind, ctx) == pytest.approx(0.5)
    assert alone(robust.grounded_f1, blind, ctx) == 0.0


def test_stuffed_tags_earn_no_format(reward_ctx) -> None:
    ctx = reward_ctx(target={"answer": "yes"})
    stuffed = "<think> a </think><answer> yes </answer><answer> no </answer>"
    assert paper.format_answer(stuffed, ctx) == 0.0
    assert paper.format_think("<think><think> a </think></think>" + said("yes"), ctx) == 0.0
    assert paper.format_think("<think></think><answer> yes </answer>", ctx) == 0.0


def test_stating_that_nothing_changed_earns_less_than_half(reward_ctx) -> None:
    changed = reward_ctx(target={"changed": True, "captions": ["a road is built by the river"]})
    same = reward_ctx(target={"changed": False, "captions": ["nothing has changed"]})
    constant, right = said("There is no difference."), said("a road is built by the river")
    blind = robust.change_f1(constant, changed) + robust.change_f1(constant, same)
    best = robust.change_f1(right, changed) + robust.change_f1(constant, same)
    assert (blind, best) == (0.5, 1.5)
    assert robust.change_f1(right, same) == 0.0
    assert robust.change_f1("", same) == robust.change_f1("", changed) == 0.0


def test_an_unchanged_sample_in_another_language_is_right_by_its_reference(reward_ctx) -> None:
    ctx = reward_ctx(target={"changed": False, "captions": ["Nichts hat sich geändert."]})
    assert robust.change_f1(said("nichts hat sich geändert"), ctx) == 0.5
