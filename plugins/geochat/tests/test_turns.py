from __future__ import annotations

import json
from pathlib import Path

import pytest
from geovlm_geochat import captions, turns
from geovlm_geochat.turns import RefusedTurn

CLASSES = "Classify the given image in one of the following classes. Classes: railway station, "
CLASSES += "Medium Residential, church. \nAnswer in one word or a short phrase."


def test_a_list_of_classes_makes_a_scene_question():
    turn = turns.parse(f"<image>\n{CLASSES}", "church")
    assert turn.kind == "classify"
    assert turn.target["labels"] == ["church"]
    assert turn.target["vocabulary"] == ["railway station", "Medium Residential", "church"]
    assert turn.question.startswith("Classify the given image")
    assert turn.question.endswith("church. Answer in one word or a short phrase.")


def test_spaces_and_case_do_not_part_a_label_from_its_class():
    assert turns.parse(CLASSES, "MediumResidential").target["answer"] == "Medium Residential"


@pytest.mark.parametrize("answer", ["none", "harbor", ""])
def test_an_answer_that_is_not_listed_is_refused(answer):
    with pytest.raises(RefusedTurn, match="not among the listed classes"):
        turns.parse(CLASSES, answer)


def test_a_label_may_contradict_the_folder_of_its_image():
    vocabulary = ["church", "railway station"]
    assert turns.folder_contradicts("R/railway_station/a.jpg", vocabulary, "church")
    assert not turns.folder_contradicts("R/church/a.jpg", vocabulary, "church")
    assert not turns.folder_contradicts("R/elsewhere/a.jpg", vocabulary, "church")


@pytest.mark.parametrize(("answer", "kind"), [("yes", "yes_no"), ("12", "number"), ("a", "other")])
def test_a_short_answer_asked_for_makes_a_vqa_question(answer, kind):
    human = "Is there water?\nAnswer the question using a single word or phrase."
    turn = turns.parse(human, answer)
    assert (turn.kind, turn.target) == ("vqa", {"answer": answer, "type": kind})


def test_identify_takes_the_box_of_the_question_and_the_words_of_the_answer():
    turn = turns.parse(
        "[identify] What is the object present at {<35><32><37><36>|<67>}",
        "<p>1 dump-truck at the center</p>",
    )
    assert turn.kind == "caption"
    assert turn.boxes == ((35, 32, 37, 36, 67),)
    assert turn.pieces[0].text == "What is the object present at"
    assert turn.target["captions"] == ["1 dump-truck at the center"]
    assert turn.target["facts"] == {"count": "1", "object": "dump-truck", "position": "center"}


def test_refer_takes_the_phrase_of_the_question_and_the_boxes_of_the_answer():
    turn = turns.parse(
        "[refer] Give me the location of <p> 2 a220 airplanes </p>",
        "{<8><82><16><90>|<69>}{<6><44><14><48>|<32>}",
    )
    assert turn.kind == "refer"
    assert turn.question == "Give me the location of 2 a220 airplanes"
    assert turn.target == {"phrase": "2 a220 airplanes"}
    assert len(turn.boxes) == 2


def test_grounding_keeps_the_text_without_boxes():
    turn = turns.parse(
        "[grounding] Describe the image in detail",
        "In the image, there are <p>some buildings</p> {<40><77><52><85>|<1>}<delim>"
        "{<45><64><57><72>|<90>} located close to <p>a road</p> {<1><2><3><4>|<5>}.",
    )
    assert turn.kind == "ground"
    assert turn.target["text"] == "In the image, there are some buildings located close to a road ."
    assert len(turn.boxes) == 3


@pytest.mark.parametrize(
    ("human", "gpt", "reason"),
    [
        ("[identify] What is this?", "a ship", "without a box in the question"),
        ("[identify] What is {<1><2><3><4>}", "None", "without a description"),
        ("[refer] Where is <p>it</p>", "none", "without a box in the answer"),
        ("[grounding] Describe.", "There is a ship.", "without a box in the answer"),
        ("What is it? Answer the question using a single word or phrase.", " ", "empty answer"),
        ("Tell me more.", "It is a harbor.", "conversation or description"),
    ],
)
def test_what_belongs_to_no_task_is_refused_with_the_reason(human, gpt, reason):
    with pytest.raises(RefusedTurn, match=reason):
        turns.parse(human, gpt)


def test_a_conversation_is_read_in_pairs_and_odd_messages_are_passed_over():
    conversation = [
        {"from": "gpt", "value": "hello"},
        {"from": "human", "value": "a"},
        {"from": "gpt", "value": "b"},
        {"from": "human"},
        "noise",
        {"from": "human", "value": "c"},
    ]
    assert list(turns.pairs(conversation)) == [("a", "b")]
    assert list(turns.pairs(None)) == []


def test_facts_are_what_the_caption_says():
    stated, vocabularies = captions.facts(
        "1 gray large small-vehicle at the top left of the image."
    )
    assert stated["object"] == "small-vehicle"
    assert stated["position"] == "top left"
    assert stated["colour"] == "gray"
    assert stated["count"] == "1"
    assert "size" not in stated  # "small" stands inside the kind, so the size is not one word
    assert set(vocabularies) == set(stated)


def test_a_second_kind_of_object_leaves_no_facts():
    assert captions.facts("1 white vehicle driving through the overpass at center") == ({}, {})


def test_most_real_region_captions_have_facts(realdata: Path):
    path = realdata / "EarthDial_eval_results" / "rs_region_captioning" / "GeoChat.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    stated = [captions.facts(row["annotation"])[0] for row in rows]
    assert len(stated) == 2797
    assert sum(bool(facts) for facts in stated) > 0.98 * 2797
