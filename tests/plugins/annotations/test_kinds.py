"""Tasks over rows: questions, correct answers, targets, and what `geovlm predict` asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from geovlm.api import PromptContext, RewardContext, Sample, TaskSpec, Turn
from geovlm.plugins.annotations.declaring import Declared
from geovlm.plugins.annotations.description import Description
from geovlm.plugins.profiles import QWEN2_5_VL
from geovlm.predict import asking
from geovlm.rewards import robust
from tests.plugins.annotations import test_tables

SIZE = (280, 140)


def asked(folder: Path, row: dict[str, Any], **changes: Any) -> tuple[Description, Sample, Turn]:
    """The only sample of a row, and its turn."""
    file = test_tables.lines(folder, {"image": "a.png", **row})
    own = test_tables.described(file, format="jsonl", **changes)
    (sample,) = test_tables.load(own)
    return own, sample, turn(own, sample)


def task_of(own: Description) -> TaskSpec:
    (task,) = Declared(own).geovlm_tasks()
    return task


def turn(own: Description, sample: Sample) -> Turn:
    ctx = PromptContext(profile=QWEN2_5_VL, image_sizes=(SIZE,), input_sizes=(SIZE,))
    return task_of(own).prompt(sample, ctx)  # type: ignore[operator]


def test_vqa_asks_the_question_of_the_row(tmp_path: Path) -> None:
    row = {"question": "Is there a road?", "answer": "yes", "type": "presence"}
    _, sample, made = asked(tmp_path, row, labels=("yes", "no"))
    assert (made.question, made.answer, made.reasoning) == ("Is there a road?", "yes", "")
    assert sample.target["vocabulary"] == ["yes", "no"]
    assert sample.target["type"] == "presence"


def test_the_wording_of_a_description_holds_the_question_of_the_row(tmp_path: Path) -> None:
    row = {"question": "Is there a road?", "answer": "yes"}
    _, _, made = asked(tmp_path, row, question="{question} Answer with one word.")
    assert made.question == "Is there a road? Answer with one word."


def test_a_column_holds_the_reasoning(tmp_path: Path) -> None:
    row = {"question": "q", "answer": "yes", "why": "A grey line crosses the field."}
    _, _, made = asked(tmp_path, row, reasoning="why")
    assert made.reasoning == "A grey line crosses the field."


def test_reasoning_in_tags_is_taken_from_the_answer(tmp_path: Path) -> None:
    row = {"question": "q", "answer": "<think>A grey line.</think><answer>yes</answer>"}
    own, _, made = asked(tmp_path, row, reasoning="tags")
    assert (made.reasoning, made.answer) == ("A grey line.", "yes")
    assert task_of(own).reasoning == "think"
    own, _, made = asked(tmp_path, row)
    assert (made.reasoning, made.answer) == ("", "yes")
    assert task_of(own).reasoning == "none"


def test_boxes_without_reasoning_are_answers_alone(tmp_path: Path) -> None:
    row = {"phrase": "a ship", "boxes": [[28, 14, 84, 70]]}
    own, _, made = asked(tmp_path, row, task="refer", reasoning="none")
    assert made.reasoning == ""
    assert task_of(own).reasoning == "none"


def test_classify_lists_the_classes(tmp_path: Path) -> None:
    _, sample, made = asked(
        tmp_path, {"label": "forest"}, task="classify", labels=("forest", "sea")
    )
    assert made.question == "Which of these classes does the image show? Classes: forest, sea."
    assert made.answer == "forest"
    assert sample.target["labels"] == ["forest"]
    assert sample.id == "a.png"


def test_a_label_outside_of_the_list_is_left_out(tmp_path: Path) -> None:
    file = test_tables.lines(tmp_path, {"image": "a.png", "label": "quarry"})
    own = test_tables.described(file, format="jsonl", task="classify", labels=("forest",))
    left_out: list[str] = []
    assert test_tables.load(own, left_out) == []
    assert left_out == ["record without a label of the list: q.jsonl:1"]


def test_neighbouring_captions_of_an_image_are_one_sample(tmp_path: Path) -> None:
    text = "image,caption\na.png,A pier.\na.png,A long pier.\nb.png,A field.\n"
    own = test_tables.described(test_tables.table(tmp_path, text), task="caption")
    found = test_tables.load(own)
    assert [each.target["captions"] for each in found] == [
        ["A pier.", "A long pier."],
        ["A field."],
    ]
    assert turn(own, found[0]).answer == "A pier."


@pytest.mark.parametrize("answer", ["B", "vine", "(b)", "B. vine"])
def test_the_answer_of_a_choice_is_its_letter(answer: str, tmp_path: Path) -> None:
    row = {"question": "What grows here?", "choices": ["maize", "vine"], "answer": answer}
    _, sample, made = asked(tmp_path, row, task="mcq")
    assert made.question == "What grows here?\nA. maize\nB. vine\nAnswer with the letter."
    assert made.answer == sample.target["answer"] == "B"


@pytest.mark.parametrize(
    ("said", "earned"), [("B", 1.0), ("vine", 1.0), ("B. vine", 1.0), ("A", 0.0), ("A or B", 0.0)]
)
def test_a_choice_earns_its_reward_by_letter_or_text(
    said: str, earned: float, tmp_path: Path
) -> None:
    row = {"question": "What grows here?", "choices": ["maize", "vine"], "answer": "vine"}
    _, sample, made = asked(tmp_path, row, task="mcq")
    ctx = RewardContext(
        task="own",
        sample_id=sample.id,
        question=made.question,
        answer=made.answer,
        target=sample.target,
        image_sizes=(SIZE,),
        input_sizes=(SIZE,),
        profile=QWEN2_5_VL,
    )
    assert robust.exact(f"<think> x </think><answer> {said} </answer>", ctx) == earned


def test_shuffled_choices_depend_on_the_seed_and_keep_the_right_one(tmp_path: Path) -> None:
    row = {"question": "q", "choices": list("klmnop"), "answer": "n"}
    made = [
        asked(tmp_path, row, task="mcq", choices="shuffled", seed=seed)[1].target
        for seed in (1, 1, 2)
    ]
    assert made[0] == made[1] != made[2]
    right = [target["choices"]["ABCDEF".index(target["answer"])] for target in made]  # type: ignore
    assert right == ["n", "n", "n"]


def test_options_by_letter_are_choices(tmp_path: Path) -> None:
    text = "image,question,A,B,C,answer\na.png,q,sea,lake,river,C\n"
    own = test_tables.described(test_tables.table(tmp_path, text), task="mcq")
    assert test_tables.load(own)[0].target["choices"] == ["sea", "lake", "river"]


def test_refer_asks_for_the_boxes_of_a_phrase(tmp_path: Path) -> None:
    row = {"phrase": "the white ship", "boxes": [[28, 14, 84, 70]]}
    _, sample, made = asked(tmp_path, row, task="refer")
    assert made.question == "Locate the white ship in the image."
    assert made.answer == "[28, 14, 84, 70]"
    assert made.reasoning == "One object fits: upper left."
    assert "box_labels" not in sample.target


def test_a_marked_part_is_described(tmp_path: Path) -> None:
    row = {"caption": "a white ship", "boxes": [28, 14, 84, 70]}
    own, _, made = asked(tmp_path, row, task="caption", question="Describe the object at {box}.")
    assert made.question == "Describe the object at [28, 14, 84, 70]."
    assert made.answer == "a white ship"
    assert [each.name for each in task_of(own).asks] == ["boxes"]


@pytest.mark.parametrize(
    ("changes", "said", "question"),
    [
        ({"task": "vqa"}, {"question": "Is there a road?"}, "Is there a road?"),
        ({"task": "mcq"}, {"question": "q", "choices": "sea | lake"}, "q\nA. sea\nB. lake"),
        ({"task": "classify", "labels": ("a", "b")}, {}, "Classes: a, b."),
        ({"task": "caption"}, {}, "Describe the image in one sentence."),
        ({"task": "refer"}, {"phrase": "the pier"}, "Locate the pier in the image."),
        ({"task": "ground"}, {}, "Write the boxes after each phrase."),
        ({"task": "detect", "labels": ("ship",)}, {"label": "ship"}, "Detect every ship"),
        (
            {"task": "classify", "question": "What is at {box}?"},
            {"boxes": [[28, 14, 84, 70]]},
            "What is at [28, 14, 84, 70]?",
        ),
    ],
)
def test_every_task_can_be_asked_about_new_images(
    changes: dict[str, Any], said: dict[str, Any], question: str, tmp_path: Path
) -> None:
    own = test_tables.described(tmp_path / "q.csv", **changes)
    task = task_of(own)
    assert {each.name for each in task.asks} == set(said)
    target = asking.blank_target(task, said)
    sample = Sample(
        id="x", images=(tmp_path,), target=target, question=str(target.get("question", ""))
    )
    assert question in turn(own, sample).question
