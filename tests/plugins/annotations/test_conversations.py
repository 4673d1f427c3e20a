"""Rows as ms-swift, LLaVA, VLM-R1 and LLaMA-Factory write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from geovlm.api import Sample
from geovlm.plugins.annotations import guessing
from geovlm.plugins.annotations.description import Description
from tests.plugins.annotations import test_kinds, test_tables

SHIP = [28, 14, 84, 70]
BOAT = [140, 14, 196, 70]


def swift(user: str, assistant: str, **more: Any) -> dict[str, Any]:
    """Return a row of ms-swift."""
    messages = [{"role": "system", "content": "You help."}, {"role": "user", "content": user}]
    messages.append({"role": "assistant", "content": assistant})
    return {"messages": messages, "images": ["a.png"], **more}


def added(folder: Path, *rows: dict[str, Any]) -> tuple[Description, list[Sample], list[str]]:
    """Return the description that `data add` makes of rows, its samples and what is left out."""
    file = test_tables.lines(folder, *rows)
    own = guessing.complete(test_tables.described(file, format="jsonl"))
    left_out: list[str] = []
    return own, test_tables.load(own, left_out), left_out


def test_a_phrase_of_ms_swift_is_referred_to_by_its_boxes(tmp_path: Path) -> None:
    objects = {"ref": ["ships"], "bbox": [SHIP, BOAT]}
    row = swift("<image>Find the <ref-object> in the image", "<bbox><bbox>", objects=objects)
    own, (sample,), _ = added(tmp_path, row)
    turn = test_kinds.turn(own, sample)
    assert own.task == "refer"
    assert turn.question == "Find the ships in the image"
    assert turn.answer == "[28, 14, 84, 70], [140, 14, 196, 70]"


def test_a_text_of_ms_swift_has_boxes_after_its_phrases(tmp_path: Path) -> None:
    objects = {"ref": ["a ship", "a boat"], "bbox": [SHIP, BOAT]}
    row = swift(
        "<image>Describe the image.",
        "<ref-object> <bbox> and <ref-object> <bbox>.",
        objects=objects,
    )
    own, (sample,), _ = added(tmp_path, row)
    assert own.task == "ground"
    answer = "a ship [28, 14, 84, 70] and a boat [140, 14, 196, 70]."
    assert test_kinds.turn(own, sample).answer == answer
    assert sample.target["text"] == "a ship and a boat ."


def test_a_list_of_objects_of_ms_swift_is_detection(tmp_path: Path) -> None:
    objects = {"ref": ["ship", "boat"], "bbox": [SHIP, BOAT]}
    row = swift("<image>Detect all.", "<ref-object><bbox>, <ref-object><bbox>", objects=objects)
    own, (sample,), _ = added(tmp_path, row)
    assert own.task == "detect"
    assert sample.target["box_labels"] == ["ship", "boat"]


def test_a_box_in_the_question_of_ms_swift_is_marked(tmp_path: Path) -> None:
    row = swift("<image>What is at <bbox>?", "a ship", objects={"ref": [], "bbox": [SHIP]})
    own, (sample,), _ = added(tmp_path, row)
    assert own.task == "vqa"
    assert test_kinds.turn(own, sample).question == "What is at [28, 14, 84, 70]?"


def test_boxes_of_ms_swift_may_be_shares_of_the_image(tmp_path: Path) -> None:
    objects = {"ref": ["ship"], "bbox": [[0.1, 0.1, 0.5, 0.9]], "bbox_type": "norm1"}
    _, (sample,), _ = added(tmp_path, swift("<image>Find <ref-object>", "<bbox>", objects=objects))
    # an image of 200 x 100 px
    assert sample.target["boxes"] == [[20.0, 10.0, 100.0, 90.0]]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            swift("Find it", "<bbox><bbox>", objects={"ref": [], "bbox": [SHIP]}),
            "conversation with more <bbox> than entries in objects",
        ),
        (
            swift("Find it", "<bbox>", objects={"ref": [], "bbox": [SHIP, BOAT]}),
            "conversation with more boxes than <bbox>",
        ),
        (
            swift("Move <bbox>", "<bbox>", objects={"ref": [], "bbox": [SHIP, BOAT]}),
            "boxes in both question and answer",
        ),
        (
            swift("Click", "<bbox>", objects={"ref": [], "bbox": [[615, 226]]}),
            "box without four numbers or without area",
        ),
        (
            {"messages": [{"role": "tool", "content": "x"}], "images": ["a.png"]},
            "conversation with a message of 'tool'",
        ),
        (
            {"messages": [{"role": "user", "content": "x"}], "images": ["a.png"]},
            "conversation without a question and its answer",
        ),
        ({"messages": "x", "images": ["a.png"]}, "conversation that is not a list of messages"),
    ],
)
def test_a_conversation_that_cannot_be_read_is_left_out(
    row: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    own = test_tables.described(test_tables.lines(tmp_path, row), format="jsonl")
    left_out: list[str] = []
    assert test_tables.load(own, left_out) == []
    assert left_out[0].startswith(f"{reason}: q.jsonl:1")


def test_each_exchange_of_llava_is_a_sample(tmp_path: Path) -> None:
    said = [("human", "<image>\nIs there a road?"), ("gpt", "yes")]
    said += [("human", "How many houses?"), ("gpt", "3")]
    row = {"id": "7", "image": "a.png", "conversations": [{"from": f, "value": v} for f, v in said]}
    own, found, _ = added(tmp_path, row)
    assert own.task == "vqa"
    assert [(each.id, each.question, each.target["answer"]) for each in found] == [
        ("7/0", "Is there a road?", "yes"),
        ("7/1", "How many houses?", "3"),
    ]


def test_several_images_of_vlm_r1_are_the_images_of_a_sample(tmp_path: Path) -> None:
    said = [{"from": "human", "value": "<image><image>What is new?"}]
    said.append({"from": "gpt", "value": "<think>A roof.</think><answer>a house</answer>"})
    row = {"id": 1, "image": ["a.png", "b.png"], "conversations": said}
    _, (sample,), _ = added(tmp_path, row)
    assert [image.name for image in sample.images] == ["a.png", "b.png"]
    assert (sample.id, sample.question) == ("1", "What is new?")
    assert sample.target["answer"] == "a house"


def test_an_instruction_of_llama_factory_has_its_input_below_it(tmp_path: Path) -> None:
    row = {"instruction": "<image>Answer.", "input": "Is there a road?", "output": "no"}
    own, (sample,), _ = added(tmp_path, row | {"images": ["a.png"]})
    assert own.columns["question"] == ("instruction", "input")
    assert sample.question == "Answer.\nIs there a road?"
    assert sample.target["answer"] == "no"


def test_long_answers_are_captions(tmp_path: Path) -> None:
    text = "A harbour with two piers lies to the left of a long beach."
    own, (sample,), _ = added(tmp_path, swift("<image>Describe it.", text))
    assert own.task == "caption"
    assert sample.target["captions"] == [text]
    assert test_kinds.turn(own, sample).question == "Describe it."


def test_parts_of_a_message_are_its_text_and_images(tmp_path: Path) -> None:
    parts = [{"type": "image", "image": "b.png"}, {"type": "text", "text": "Is there a road?"}]
    row = {"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "no"}]}
    _, (sample,), _ = added(tmp_path, row)
    assert [image.name for image in sample.images] == ["b.png"]
    assert sample.question == "Is there a road?"


def said(answer: Any) -> dict[str, Any]:
    """Return a row of VLM-R1."""
    asked = {"from": "human", "value": "<image>Where is the ship?"}
    return {"conversations": [asked, {"from": "gpt", "value": answer}]}


@pytest.mark.parametrize(
    ("row", "phrase"),
    [
        ({"problem": "Where is the ship?", "solution": SHIP}, "Where is the ship?"),
        ({"problem": "Where?", "normal_caption": "the ship", "solution": SHIP}, "the ship"),
        ({"problem": "Where?", "normal_caption": "the ship", "solution": str(SHIP)}, "the ship"),
        (said(SHIP), "Where is the ship?"),
        (said(f"<answer>{SHIP}</answer>"), "Where is the ship?"),
    ],
    ids=["solution", "caption", "text", "numbers", "tags"],
)
def test_an_answer_that_is_a_box_of_vlm_r1_is_referred_to(
    row: dict[str, Any], phrase: str, tmp_path: Path
) -> None:
    own, (sample,), left_out = added(tmp_path, {"image": "a.png", **row})
    assert own.task == "refer"
    assert sample.target == {"phrase": phrase, "boxes": [SHIP]}
    assert left_out == []


def test_labelled_boxes_of_vlm_r1_are_detection(tmp_path: Path) -> None:
    boxes = [{"bbox_2d": SHIP, "label": "ship"}, {"bbox_2d": BOAT, "label": "boat"}]
    text = f"```json\n{json.dumps(boxes)}\n```"
    file = test_tables.lines(tmp_path, {"image": "a.png", **said(text)})
    own = guessing.complete(test_tables.described(file, format="jsonl", labels=("ship", "boat")))
    (sample,) = test_tables.load(own)
    assert own.task == "detect"
    assert sample.target["boxes"] == [SHIP, BOAT]


def test_boxes_in_a_sentence_stay_text(tmp_path: Path) -> None:
    own, _, _ = added(tmp_path, {"image": "a.png", "question": "Where?", "answer": f"At {SHIP}."})
    assert own.task == "vqa"
