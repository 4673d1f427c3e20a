"""Blind policies: what they learn from training gold, and what they then say."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from geovlm import answers, boxes
from geovlm.api import Sample, Turn
from geovlm.data.prompts import Prompt
from geovlm.plugins.profiles import QWEN2_5_VL
from geovlm.rewards.audit.lessons import Exchange, Question, exchange, learn
from geovlm.rewards.audit.policies import padded, policies

YES_NO = {"type": "yes_no", "vocabulary": ["yes", "no"]}


def shown(gold: str, /, *, question: str = "What?", **target: Any) -> Exchange:
    sample = Sample(id="1", images=(Path("1.png"),), target=target)
    sizes = ((280, 280),)
    turn = Turn(question=question, answer=gold, reasoning="because")
    made = Prompt(task="t", sample=sample, turn=turn, image_sizes=sizes, input_sizes=sizes)
    return exchange(made, profile=QWEN2_5_VL)


def said(taught: Sequence[Exchange], question: Question) -> dict[str, str]:
    """What each policy answers, without its tags."""
    return {
        policy.name: answers.answer_text(policy.write(question))
        for policy in policies(learn(taught))
    }


def boxes_said(taught: Sequence[Exchange], name: str) -> list[tuple[float, ...]]:
    text = said(taught, taught[0].question)[name]
    return [box[:4] for box in boxes.parse(text, taught[0].question)]


def test_a_policy_is_told_nothing_that_depends_on_gold() -> None:
    assert (
        shown("yes", answer="yes", **YES_NO).question == shown("no", answer="no", **YES_NO).question
    )


def test_the_majority_answer_is_learned_per_kind_of_question() -> None:
    number = {"type": "number", "vocabulary": ["1", "2"]}
    taught = [
        shown("no", answer="no", **YES_NO),
        shown("no", answer="no", **YES_NO),
        shown("yes", answer="yes", **YES_NO),
        shown("2", answer="2", **number),
    ]
    assert said(taught, taught[0].question)["majority answer"] == "no"
    assert said(taught, taught[3].question)["majority answer"] == "2"


def test_a_task_without_reasoning_is_answered_without_it() -> None:
    taught = [shown("no", answer="no", **YES_NO)]
    asked = dataclasses.replace(taught[0].question, thinks=False)
    texts = {policy.name: policy.write(asked) for policy in policies(learn(taught))}
    assert texts["majority answer"] == "<answer> no </answer>"
    assert padded(asked, answer="no", lessons=learn(taught)) == "<answer> no; no; yes </answer>"


def test_box_policies_give_labels_where_boxes_have_them() -> None:
    target = {"boxes": [[0, 0, 40, 40]] * 3, "box_labels": ["bus", "car", "car"]}
    taught = [shown("bus: [0, 0, 40, 40]", **target, vocabulary=["bus", "car"])]
    own = said(taught, taught[0].question)
    assert own["whole image"] == "car: [0, 0, 280, 280]"
    assert own["whole image, every label"] == "car: [0, 0, 280, 280]; bus: [0, 0, 280, 280]"


def test_two_options_are_the_two_most_frequent() -> None:
    vocabulary = {"vocabulary": ["a", "b", "c"]}
    taught = [shown(letter, answer=letter, **vocabulary) for letter in "ccbbca"]
    assert said(taught, taught[0].question)["two options"] == "c or b"


def test_every_label_names_the_vocabulary_or_the_answers_seen() -> None:
    listed = [shown("b", answer="b", vocabulary=["a", "b"])]
    unlisted = [shown(word, answer=word) for word in ("oak", "elm", "elm")]
    assert said(listed, listed[0].question)["every label"] == "b; a"
    assert said(unlisted, unlisted[0].question)["every label"] == "elm; oak"


def test_frequent_labels_are_the_set_of_highest_mean_f1() -> None:
    # {a}: F1 1, 1, 2/3 on the three; {a, b}: 2/3, 2/3, 1
    vocabulary = {"vocabulary": ["a", "b"]}
    taught = [shown(text, labels=text.split("; "), **vocabulary) for text in ("a", "a", "a; b")]
    assert said(taught, taught[0].question)["frequent labels"] == "a"


def test_the_constant_caption_is_the_one_most_like_the_others() -> None:
    texts = ["a red ship", "a red ship near a pier", "two planes"]
    taught = [shown(text, captions=[text]) for text in texts]
    assert said(taught, taught[0].question)["constant caption"] == "a red ship"


def test_frequent_words_are_as_many_as_a_caption_has() -> None:
    texts = ["red ship", "red ship pier", "red plane"]  # 2, 3 and 2 words; red 3, ship 2
    taught = [shown(text, captions=[text]) for text in texts]
    assert said(taught, taught[0].question)["frequent words"] == "red ship"


def test_captions_are_learned_per_place_that_the_question_names() -> None:
    left, right = "What is in [0, 0, 28, 28]?", "What is in [252, 0, 280, 28]?"
    taught = [
        shown("ship at the left", question=left, captions=["ship at the left"]),
        shown("ship at the right", question=right, captions=["ship at the right"]),
    ]
    assert said(taught, taught[0].question)["caption of the place"] == "ship at the left"
    assert said(taught, taught[1].question)["caption of the place"] == "ship at the right"


def test_usual_facts_are_the_most_frequent_value_of_each() -> None:
    vocabularies = {"kind": ["fire", "flood"], "count": ["one", "many"]}
    taught = [
        shown("…", captions=["…"], facts={"kind": k, "count": c}, fact_vocabularies=vocabularies)
        for k, c in (("fire", "many"), ("flood", "many"), ("flood", "one"))
    ]
    assert said(taught, taught[0].question)["usual facts"] == "flood many"
    assert said(taught, taught[0].question)["every label"] == "fire; flood; one; many"


BOXES = [
    shown("[0, 0, 56, 56], [140, 140, 196, 252]", boxes=[]),
    shown("[28, 28, 84, 84]", boxes=[]),
]


def test_the_mean_box_is_the_mean_of_all_corners() -> None:
    # x0 (0 + 140 + 28) / 3 = 56, x1 (56 + 196 + 84) / 3 = 112, y1 (56 + 252 + 84) / 3 = 130.67
    (box,) = boxes_said(BOXES, "mean box")
    assert box == pytest.approx((56, 56, 112, 130.67), abs=0.5)  # written as integers


def test_whole_image_and_centre_box_are_what_they_say() -> None:
    assert boxes_said(BOXES, "whole image") == [(0, 0, 280, 280)]
    assert boxes_said(BOXES, "centre box") == [(70, 70, 210, 210)]


def test_one_box_is_repeated_sixteen_times() -> None:
    assert len(boxes_said(BOXES, "one box repeated")) == 16
    assert len(set(boxes_said(BOXES, "one box repeated"))) == 1


def test_the_grid_has_five_scales_and_is_read_whole() -> None:
    grid = boxes_said(BOXES, "grid")
    assert len(grid) == 1 + 4 + 16 + 64 + 144
    assert (0, 0, 140, 140) in grid


def test_the_fine_grid_has_boxes_of_the_usual_size_and_covers_the_image() -> None:
    # sizes 56 x 74.67 px: boxes that overlap by half are 10 by 7
    grid = boxes_said(BOXES, "fine grid")
    assert len(grid) == 10 * 7
    assert min(box[0] for box in grid) == 0
    assert max(box[2] for box in grid) == 280


def test_the_fine_grid_of_small_objects_keeps_to_what_is_read() -> None:
    small = [shown("[0, 0, 5, 5]", boxes=[])]
    assert 200 < len(boxes_said(small, "fine grid")) <= 256


def test_the_usual_grid_has_the_usual_number_of_boxes() -> None:
    crowd = [shown(", ".join(["[0, 0, 28, 28]"] * 5), boxes=[])]
    assert len(boxes_said(crowd, "usual grid")) == 5


def test_box_policies_of_grounded_captions_speak_the_constant_caption() -> None:
    taught = [shown("a ship [0, 0, 28, 28]", text="a ship")]
    assert said(taught, taught[0].question)["whole image"] == "a ship [0, 0, 280, 280]"


def test_policies_that_do_not_apply_are_left_out() -> None:
    closed = [shown("yes", answer="yes", **YES_NO)]
    always = {"empty", "prompt copy", "tag stuffing"}
    assert set(said(closed, closed[0].question)) == always | {
        "every label",
        "two options",
        "majority answer",
    }
    assert set(said(BOXES, BOXES[0].question)) == always | {
        "whole image",
        "centre box",
        "mean box",
        "one box repeated",
        "grid",
        "fine grid",
        "usual grid",
    }


def test_every_policy_but_empty_and_stuffing_earns_the_format_rewards() -> None:
    taught = [*BOXES, shown("yes", answer="yes", **YES_NO), shown("a ship", captions=["a ship"])]
    written = {policy.name: policy.write(taught[2].question) for policy in policies(learn(taught))}
    malformed = {
        name
        for name, text in written.items()
        if not (answers.has_think(text) and answers.has_answer(text))
    }
    assert malformed == {"empty", "tag stuffing"}


def test_padding_keeps_the_answer_and_adds_all_the_rest() -> None:
    closed = shown("yes", answer="yes", **YES_NO)
    text = padded(closed.question, answer="yes", lessons=learn([closed]))
    assert answers.answer_text(text) == "yes; yes; no"
    text = padded(BOXES[1].question, answer=BOXES[1].answer, lessons=learn(BOXES))
    assert len(boxes.parse(answers.answer_text(text), BOXES[1].question)) == 1 + 229
