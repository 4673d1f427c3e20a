"""Answers and truths that cannot be read: a wrong answer stays, a lost truth is counted."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geovlm.cli import main
from geovlm.score.protocols import values

MASKS = ("localization_prediction", "damage_prediction", "localization_target", "damage_target")
BOX = "[[10, 10, 40, 40, 0]]"


def asked(kind: str, answer: object, truth: object) -> dict:
    return {"answer": answer, "annotation": truth, "vqa_type": kind}


def printed(capsys: pytest.CaptureFixture, *arguments: str) -> tuple[str, str]:
    with pytest.raises(SystemExit):
        main(["score", *arguments])
    return capsys.readouterr()


# -- answers --------------------------------------------------------------------------------------


def test_failed_answers_stay_in_the_denominator(score) -> None:
    made = score(
        "rsvqa",
        asked("count", "5", 5),
        asked("count", 6, "6"),
        asked("count", math.nan, "4"),
        asked("count", None, "4"),
        asked("presence", "no", "no"),
    )
    # counts: two of four; presence: one of one
    assert (made.n, made.skipped) == (5, {})
    assert made.published["count"] == 0.5
    assert made.published["OA"] == 3 / 5
    assert made.strict["OA"] == 3 / 5
    assert made.unreadable == {
        "field 'answer' is not a finite number": 1,
        "field 'answer' is null": 1,
    }


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "field 'answer' is null"),
        (math.inf, "field 'answer' is not a finite number"),
        ("", "field 'answer' is empty"),
        (" \n", "field 'answer' is empty"),
        (["yes"], "field 'answer' is a list"),
        ({"text": "yes"}, "field 'answer' is an object"),
        ("yes" + " " * 20_000, "field 'answer' is longer than 20,000 characters"),
    ],
)
def test_an_answer_that_cannot_be_read_is_wrong(score, answer: object, reason: str) -> None:
    right = asked("presence", "yes", "yes")
    made = score("earthdial/vqa", right, right | {"answer": answer})
    assert made.published["presence"] == 0.5
    assert made.strict["presence"] == 0.5
    assert (made.n, made.unreadable) == (2, {reason: 1})


def test_a_record_without_an_answer_is_wrong(score) -> None:
    right = asked("presence", "yes", "yes")
    made = score("earthdial/vqa", right, {"annotation": "yes", "vqa_type": "presence"})
    assert (made.n, made.published["presence"]) == (2, 0.5)
    assert made.unreadable == {"no field 'answer'": 1}


def test_a_file_of_failed_answers_scores_zero(score) -> None:
    made = score("rsvqa", asked("count", None, "4"))
    assert (made.n, made.published["OA"]) == (1, 0.0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (4, "4"),
        (4.0, "4"),
        (-0.0, "0"),
        (2.5, "2.5"),
        (1e300, "1e+300"),
        (True, "true"),
        (10**30, "1" + "0" * 30),
    ],
)
def test_a_number_is_its_text(value: object, expected: str) -> None:
    assert values.text({"answer": value}, "answer") == expected


def test_an_integer_too_long_for_python_is_an_answer_too(score) -> None:
    line = f'{{"answer": {"9" * 5000}, "annotation": "4", "vqa_type": "count"}}'
    made = score("rsvqa", asked("count", "4", "4"), line)
    assert (made.n, made.published["count"]) == (2, 0.5)


def test_no_answer_earns_nothing_where_there_is_nothing_to_name(score) -> None:
    row = {"answer": [], "labels": []}
    made = score("bigearthnet", row, row | {"answer": None}, row | {"answer": ""})
    assert made.published["exact_match"] == pytest.approx(1 / 3)
    assert made.published["recall"] == pytest.approx(1 / 3)
    assert made.strict["precision"] == pytest.approx(1 / 3)


def test_labels_may_be_a_list(score) -> None:
    row = {"answer": ["Inland waters", "Pastures"], "labels": ["Pastures", "Inland waters"]}
    assert score("bigearthnet", row).published["exact_match"] == 1.0


def test_labels_between_other_values_are_no_answer(score) -> None:
    made = score("bigearthnet", {"answer": ["Pastures", None], "labels": ["Pastures"]})
    assert made.unreadable == {"field 'answer' is a list of texts and other values": 1}


def test_boxes_may_be_a_list_on_both_sides(score) -> None:
    row = {"answer": [[10, 10, 40.0, 40, 0]], "gt_bbox": [[10, 10, 40, 40, 0]], "size_group": "s"}
    made = score("earthdial/refer", row)
    assert (made.published["all"], made.strict["f1"]) == (1.0, 1.0)


@pytest.mark.parametrize("answer", ["", None, {}, "none"])
def test_an_unanswered_query_without_objects_is_not_right(score, answer: object) -> None:
    none = {"answer": "[]", "gt_bbox": "[]", "size_group": "small"}
    found = {"answer": BOX, "gt_bbox": BOX, "size_group": "small"}
    right = score("geochat/bench", none, found).published["all"]
    failed = score("geochat/bench", none | {"answer": answer}, found).published["all"]
    assert right == 1.0
    assert failed == (1.0 if answer == "none" else 0.5)


def test_no_answer_does_not_state_a_change(score) -> None:
    pair = {"caption0": "a road is built", "caption1": "a road appears"}
    made = score("change_caption", pair | {"answer": ""}, pair | {"answer": "a road appears"})
    assert made.published["change_accuracy"] == 0.5


def test_an_empty_reference_makes_no_empty_answer_right(score) -> None:
    row = {"answer": "", "caption0": "a road", "caption1": "two roads", "caption2": ""}
    assert score("earthdial/caption", row).strict["exact"] == 0.0


def test_a_missing_predicted_mask_is_an_image_without_buildings(score, tmp_path: Path) -> None:
    mask = np.array([[0, 1, 2], [0, 3, 4]], dtype=np.uint8)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    right = dict.fromkeys(MASKS, "mask.png")
    made = score("xview2", right, right | dict.fromkeys(MASKS[:2], "absent.png"))
    # four building pixels found, four missed: F1 2 * 4 / (2 * 4 + 4)
    assert made.published["localization_f1"] == pytest.approx(2 / 3)
    assert made.unreadable == {"localization_prediction is not a readable image": 1}


def test_a_predicted_mask_of_another_size_finds_nothing(score, tmp_path: Path) -> None:
    Image.fromarray(np.ones((2, 3), dtype=np.uint8)).save(tmp_path / "mask.png")
    Image.fromarray(np.ones((3, 2), dtype=np.uint8)).save(tmp_path / "turned.png")
    turned = dict.fromkeys(MASKS, "mask.png") | dict.fromkeys(MASKS[:2], "turned.png")
    made = score("xview2", turned)
    assert made.published["localization_f1"] == 0.0
    assert made.unreadable == {"a predicted mask has not the size of the true one": 1}


def test_a_damaged_line_of_ours_is_a_wrong_answer(score, own) -> None:
    line = own("rsvqa/lr", "yes", answer="yes", type="presence")
    lost = own("rsvqa/lr", "", answer="yes", type="presence")
    del lost["completion"]
    null = own("rsvqa/lr", "yes", answer="yes", type="presence") | {"completion": None}
    bare = own("rsvqa/lr", "yes", answer="yes", type="presence") | {"completion": "yes"}
    made = score("rsvqa", line, lost, null, bare)
    assert (made.n, made.published["OA"]) == (4, 0.25)
    assert made.unreadable == {
        "no field 'completion'": 1,
        "field 'completion' is null": 1,
        "field 'completion' has no answer block": 1,
    }


# -- truths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("truth", [None, math.nan, "", "  ", [], ["yes"], {"a": 1}])
def test_a_truth_that_cannot_be_read_is_skipped(score, truth: object) -> None:
    made = score("earthdial/vqa", asked("presence", "yes", "yes"), asked("presence", "no", truth))
    assert (made.n, made.lines, sum(made.skipped.values())) == (1, 2, 1)
    assert made.skipped_share == 0.5


def test_null_is_no_caption(score, own) -> None:
    right = own("captions/rsicd", "two roads", captions=["two roads"])
    made = score("earthdial/caption", right, own("captions/rsicd", "None", captions=[None]))
    assert made.skipped == {"field 'target' has no captions": 1}


def test_labels_with_null_are_no_truth(score, own) -> None:
    right = own("t/t", "sea", answer="sea", labels=["sea"])
    made = score("earthdial/classify", right, own("t/t", "sea", answer="sea", labels=["sea", None]))
    assert made.skipped == {"field 'labels' is not a list of texts": 1}


@pytest.mark.parametrize("box", [[1, None, 3, 4], [1, math.nan, 3, 4], [1, 2, math.inf, 4], [1, 2]])
def test_a_true_box_of_no_numbers_is_skipped(score, own, box: list) -> None:
    right = own("xbd/detect", "[0, 0, 10, 10]", boxes=[[0, 0, 10, 10]])
    made = score("earthdial/xbd_detect", right, own("xbd/detect", "[0, 0, 10, 10]", boxes=[box]))
    assert (made.n, sum(made.skipped.values())) == (1, 1)


@pytest.mark.parametrize("size", [[], [[0, 0]], [[math.inf, 100]], [[100]], None])
def test_an_image_without_a_size_is_skipped(score, own, size: object) -> None:
    right = own("xbd/detect", "[0, 0, 10, 10]", boxes=[[0, 0, 10, 10]])
    lost = own("xbd/detect", "[0, 0, 10, 10]", boxes=[[0, 0, 10, 10]]) | {"image_sizes": size}
    made = score("earthdial/xbd_detect", right, lost)
    assert (made.n, sum(made.skipped.values())) == (1, 1)


def test_a_truth_without_a_box_is_skipped(score) -> None:
    row = {"answer": BOX, "gt_bbox": BOX, "size_group": "small"}
    made = score("earthdial/refer", row, row | {"gt_bbox": "a ship"})
    assert made.skipped == {"field 'gt_bbox' holds no box": 1}


def test_a_sample_that_is_answered_twice_counts_once(score, own) -> None:
    right = own("rsvqa/lr", "yes", answer="yes", type="presence")
    wrong = own("rsvqa/lr", "no", answer="yes", type="presence")
    made = score("rsvqa", right, right, wrong)
    assert (made.n, made.published["OA"]) == (2, 0.5)
    assert made.skipped == {"sample_id repeats that of an earlier line": 1}


# -- nothing to find -------------------------------------------------------------------------------


def test_nothing_found_where_nothing_is_has_no_strict_box_score(score) -> None:
    none = {"answer": "[]", "gt_bbox": "[]", "size_group": "small"}
    assert score("earthdial/refer", none).strict == {}
    false_alarm = score("earthdial/refer", none | {"answer": BOX})
    assert false_alarm.strict["f1"] == 0.0


def test_no_labels_on_either_side_have_no_strict_f1_of_labels(score) -> None:
    made = score("bigearthnet", {"answer": "none", "labels": []})
    assert made.strict == {"sample_f1": 1.0, "precision": 1.0, "exact_match": 1.0}


def test_an_image_without_buildings_has_no_strict_score(score, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((2, 3), dtype=np.uint8)).save(tmp_path / "mask.png")
    assert score("xview2", dict.fromkeys(MASKS, "mask.png")).strict == {}


def test_a_level_on_no_side_has_no_strict_score(score, tmp_path: Path) -> None:
    Image.fromarray(np.array([[1, 4]], dtype=np.uint8)).save(tmp_path / "mask.png")
    made = score("xview2", dict.fromkeys(MASKS, "mask.png"))
    assert "damage_f1_minor_damage" not in made.strict
    assert made.strict["damage_f1_destroyed"] == 1.0
    assert made.strict["score"] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("answer", ["4.0", "4", "\u0664", "\uff14", 4, 4.0])
def test_a_count_is_in_its_class_however_it_is_written(score, answer: object) -> None:
    assert score("rsvqa", asked("count", answer, "4")).published["count"] == 1.0


@pytest.mark.parametrize("answer", ["3,5", "4.5", "1e1", "-4", "4 or 5"])
def test_other_spellings_are_no_count(score, answer: str) -> None:
    assert score("rsvqa", asked("count", answer, "35")).published["count"] == 0.0


def test_a_damaged_first_line_does_not_hide_whose_file_it_is(write, own, capsys) -> None:
    line = own("rsvqa/lr", "yes", answer="yes", type="presence")
    path = write({}, line | {"task": None}, line | {"sample_id": "x"})
    out, _ = printed(capsys, str(path), "--json")
    assert json.loads(out)["n"] == 2


# -- what people read -----------------------------------------------------------------------------


def test_the_share_of_skipped_lines_comes_first(write, capsys) -> None:
    right = asked("presence", "yes", "yes")
    path = write(right, right, asked("presence", None, "yes"), right | {"annotation": None}, "{")
    out, err = printed(capsys, str(path), "--protocol", "rsvqa")
    assert err.splitlines()[0] == (
        "rsvqa: 2 of 5 lines skipped (40.00%); 1 of 3 answers unreadable, counted as wrong (33.33%)"
    )
    assert out.splitlines()[1].split("\t") == ["(lines skipped)", "0.4000", "", "0.4000", "", "5"]


def test_a_sound_file_has_no_such_line(write, capsys) -> None:
    out, err = printed(capsys, str(write(asked("presence", "yes", "yes"))), "--protocol", "rsvqa")
    assert "skipped" not in out + err
    assert "unreadable" not in out + err


def test_json_holds_the_shares(write, capsys) -> None:
    right = asked("presence", "yes", "yes")
    path = write(right, asked("presence", None, "yes"), right | {"annotation": None}, right)
    made = json.loads(printed(capsys, str(path), "--protocol", "rsvqa", "--json")[0])
    assert (made["lines"], made["n"], made["skipped_share"]) == (4, 3, 0.25)
    assert made["unreadable_share"] == pytest.approx(1 / 3)
    assert made["unreadable"] == {"field 'answer' is null": 1}
    assert made["skipped"] == {"field 'annotation' is null": 1}
