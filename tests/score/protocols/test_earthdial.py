"""EarthDial's seven protocols on cases small enough for a pencil."""

from __future__ import annotations

import pytest

HIT = "[[0, 0, 10, 10, 0]]"
MISS = "[[50, 50, 60, 60, 0]]"


def refer(answer: str, truth: str, size: str = "small") -> dict:
    return {"answer": answer, "gt_bbox": truth, "size_group": size, "task_type": "ref"}


def test_classify_published_pays_for_words_strict_for_the_answer(score) -> None:
    made = score(
        "earthdial/classify",
        {"answer": "river, beach", "annotation": "river"},  # recall 1, exact 0, F1 2/3
        {"answer": "Beach.", "annotation": "beach"},  # recall 1 (truth has no stop), exact 1
    )
    assert made.published == {"accuracy": 1.0}
    assert made.strict == pytest.approx({"accuracy": 0.5, "sample_f1": (2 / 3 + 1) / 2})


def test_classify_reads_caption0_of_change_files(score) -> None:
    made = score("earthdial/classify", {"answer": "no", "caption0": "no", "caption1": ""})
    assert made.published == {"accuracy": 1.0}


def test_vqa_by_type_and_average_without_counts(score) -> None:
    made = score(
        "earthdial/vqa",
        {"answer": "yes, no", "annotation": "yes", "vqa_type": "presence"},
        {"answer": "no", "annotation": "no", "vqa_type": "comp"},
        {"answer": "no", "annotation": "yes", "vqa_type": "comp"},
        {"answer": "4", "annotation": "7", "vqa_type": "count"},
    )
    assert made.published == pytest.approx(
        {"presence": 1.0, "comp": 0.5, "count": 0.0, "average": 2 / 3}
    )
    assert made.strict == pytest.approx(
        {"presence": 0.0, "comp": 0.5, "count": 0.0, "average": 1 / 3, "accuracy": 0.25}
    )
    assert made.counts == {"presence": 1, "comp": 2, "count": 1, "average": 3}


def test_the_tables_leave_out_counts_and_areas(score) -> None:
    rows = [
        {"answer": "yes, no", "annotation": "yes", "vqa_type": "presence"},
        {"answer": "no", "annotation": "yes", "vqa_type": "comp"},
        {"answer": "rural", "annotation": "rural", "vqa_type": "rural_urban"},
        {"answer": "7", "annotation": "7", "vqa_type": "count"},
        {"answer": "0m2", "annotation": "0m2", "vqa_type": "area"},
    ]
    low, high = score("rsvqa/lrben", *rows), score("rsvqa/hrben", *rows)
    assert low.published == pytest.approx(
        {"presence": 1.0, "comp": 0.0, "rural_urban": 1.0, "average": 2 / 3}
    )
    assert low.strict["accuracy"] == pytest.approx(1 / 3)
    assert low.notes == ["left out, as in the published tables: 1 of type count, 1 of type area"]
    assert high.published == {"presence": 1.0, "comp": 0.0, "average": 0.5}
    assert high.counts == {"presence": 1, "comp": 1, "average": 2}


def test_the_tables_have_no_score_of_counts_alone(score) -> None:
    made = score("rsvqa/lrben", {"answer": "7", "annotation": "7", "vqa_type": "count"})
    assert (made.published, made.strict) == ({}, {})


def test_region_caption(score) -> None:
    made = score(
        "earthdial/region_caption",
        # 3 of 4 words, in order: F = 2 * 3 / 7
        {"answer": "1 small ship", "annotation": "1 small grey ship", "size_group": "small"},
        {"answer": "1 Ship", "annotation": "1 ship", "size_group": "small"},
    )
    assert made.published == pytest.approx(
        {"rouge1_f": (6 / 7 + 1) / 2, "rougeL_f": (6 / 7 + 1) / 2}
    )
    assert made.strict["exact"] == 0.5


def test_caption_published_takes_the_mean_strict_the_best_reference(score) -> None:
    row = {"answer": "a road", "caption0": "a road", "caption1": "two fields"}
    made = score("earthdial/caption", row | {f"caption{i}": "two fields" for i in (2, 3, 4)})
    assert made.published["rouge1_f_mean_over_refs"] == pytest.approx(1 / 5)
    assert made.strict["rouge1_f_best_ref"] == 1.0
    assert made.strict["exact"] == 1.0


def test_caption_with_an_empty_second_reference_has_one(score) -> None:
    row = {"answer": "a road", "caption0": "a road", "caption1": ""}
    made = score("earthdial/caption", row | {f"caption{i}": "" for i in (2, 3, 4)})
    assert made.published["rougeL_f_mean_over_refs"] == 1.0


def test_caption_reads_a_list_inside_the_first_reference(score) -> None:
    row = {"answer": "a road", "caption0": '["a road", "two fields"]', "caption1": ""}
    made = score("earthdial/caption", row)
    assert made.published["rouge1_f_mean_over_refs"] == 0.5


def test_own_captions_count_as_they_lie(score, own) -> None:
    row = own("captions/nwpu", "a road", captions=["a road", "a road", "a road", " .", ""])
    made = score("earthdial/caption", row)
    assert made.published["rouge1_f_mean_over_refs"] == pytest.approx(3 / 5)
    assert made.strict["rouge1_f_best_ref"] == 1.0


CHANGES = {"question": " [changedet] [hr_rgb_temp_0.5] <image> <image> \\n are there any?"}


def test_captions_of_changes_are_scored_by_half(score) -> None:
    same = {"caption0": "there is no difference .", "caption1": "no change has occurred ."}
    made = score(
        "earthdial/caption",
        CHANGES | same | {"answer": "there is no difference"},  # ROUGE-1 1 and 1 / 4
        CHANGES | {"caption0": "a road", "caption1": "", "answer": "a road"},
        CHANGES | {"caption0": "a road", "caption1": "", "answer": "nothing has changed"},
    )
    assert made.published["rouge1_f_mean_over_refs"] == pytest.approx((5 / 8 + 1) / 3)
    assert made.strict["no_change/rouge1_f_mean_over_refs"] == pytest.approx(5 / 8)
    assert made.strict["change/rouge1_f_mean_over_refs"] == pytest.approx(0.5)
    assert made.strict["no_change/accuracy"] == 1.0
    assert made.strict["change/accuracy"] == 0.5


def test_own_captions_of_changes_name_their_half(score, own) -> None:
    made = score(
        "earthdial/caption",
        own("change/dubai", "all is the same", captions=["all is the same"], changed=False),
    )
    assert made.strict["no_change/accuracy"] == 1.0
    assert "change/accuracy" not in made.strict


def test_captions_of_images_have_no_halves(score) -> None:
    made = score("earthdial/caption", {"answer": "a road", "caption0": "a road"})
    assert not [name for name in made.strict if "change/" in name]


def test_refer_published_ignores_missed_objects_strict_does_not(score) -> None:
    made = score("earthdial/refer", refer(HIT, HIT + MISS))
    assert made.published == {"small": 1.0, "multiple": 1.0, "all": 1.0, "ref": 1.0}
    assert (made.strict["precision"], made.strict["recall"]) == (1.0, 0.5)
    assert made.strict["f1"] == pytest.approx(2 / 3)


def test_refer_published_pays_for_duplicates_strict_does_not(score) -> None:
    made = score("earthdial/refer", refer(HIT + HIT, HIT))
    assert made.published["single"] == 1.0
    assert made.strict["precision"] == 0.5


def test_refer_groups_by_size_and_counts_predicted_boxes(score) -> None:
    made = score(
        "earthdial/refer",
        refer(HIT + MISS, HIT, "small"),
        refer(HIT, HIT, "large"),
        refer("none", HIT, "large"),
    )
    assert made.published == {
        "small": 0.5,
        "large": 1.0,
        "single": pytest.approx(2 / 3),
        "all": pytest.approx(2 / 3),
        "ref": pytest.approx(2 / 3),
    }
    assert made.counts["large"] == 1
    assert made.strict["large"] == pytest.approx(2 / 3)  # one of two found, nothing false


def test_refer_files_an_unreadable_truth_under_multiple(score) -> None:
    made = score("earthdial/refer", refer("[[0, 0, 9, 10, 0]]", "[[-1, 0, 9, 10, 0]]"))
    assert made.published["multiple"] == 0.0
    assert made.strict["precision"] == 1.0  # IoU 90 / 100


def test_refer_with_nothing_predicted_scores_zero(score) -> None:
    made = score("earthdial/refer", refer("no objects", HIT))
    assert made.published["small"] == 0.0
    assert made.counts["small"] == 0


def test_bench_wants_every_box_and_no_other(score) -> None:
    made = score(
        "geochat/bench", refer(HIT + MISS, HIT + MISS), refer(HIT, HIT + MISS), refer(HIT, HIT)
    )
    assert made.published["multiple"] == 0.5
    assert made.published["single"] == 1.0
    assert made.counts["multiple"] == 2


def test_xbd_detection_drops_predicted_angles_only(score) -> None:
    # as printed: 20 x 4 upright on both sides; turned by 90 degrees IoU is 16 / 144
    row = {"answer": "[[0, 8, 20, 12, 90]]", "caption0": "[[0, 8, 20, 12, 0]]"}
    made = score("earthdial/xbd_detect", row)
    assert made.published == {"precision_25": 1.0, "precision_50": 1.0}
    assert made.strict["precision"] == 0.0


def test_xbd_detection_at_a_quarter(score) -> None:
    # 4 x 10 of 10 x 10: IoU 0.4
    row = {"answer": "[[0, 0, 4, 10, 0], [50, 50, 60, 60, 0]]", "caption0": HIT}
    made = score("earthdial/xbd_detect", row)
    assert made.published == {"precision_25": 0.5, "precision_50": 0.0}
    assert made.strict["recall_25"] == 1.0


def grounded(answer: str, boxes: list[str], text: str) -> dict:
    return {"answer": answer, "groundtruth": text, "obj_ids": str(boxes).replace("'", '"')}


def test_grounding_scores_boxes_and_the_text_between_them(score) -> None:
    text = f"there is <ref>1 car</ref> <box>[{HIT}]</box> here"
    made = score("earthdial/grounding", grounded(f"there is 1 car {HIT}{MISS} there", [HIT], text))
    # 4 of 5 words on both sides, in order
    assert made.published == pytest.approx(
        {"precision_50": 0.5, "precision_25": 0.5, "rouge1_f": 0.8, "rougeL_f": 0.8}
    )
    assert made.strict["f1"] == pytest.approx(2 / 3)


def test_grounding_leaves_out_images_with_fifty_boxes(score) -> None:
    few = grounded(f"1 car {HIT}", [HIT], f"1 car <box>[{HIT}]</box>")
    many = grounded(f"1 car {MISS}", [HIT] * 50, "1 car " + f"<box>[{HIT}]</box>" * 50)
    made = score("earthdial/grounding", few, many)
    assert made.published["precision_50"] == 1.0
    assert made.counts == {"precision_50": 1, "precision_25": 1, "rouge1_f": 1, "rougeL_f": 1}
    assert made.strict["precision"] == 0.5


def test_own_file_of_boxes(score, own) -> None:
    made = score(
        "earthdial/xbd_detect",
        own("xbd/detect", "[0, 0, 10, 10]", boxes=[[0, 0, 10, 10], [50, 50, 60, 60]]),
    )
    assert made.published["precision_50"] == 1.0
    assert made.strict["recall"] == 0.5
    assert made.resampled == "image"


def test_own_boxes_are_read_in_the_frame_of_the_model(score, own) -> None:
    row = own("xbd/detect", "[0, 0, 500, 500]", boxes=[[0, 0, 50, 50]])
    made = score("earthdial/xbd_detect", row | {"profile": "qwen2-vl"})  # thousandths
    assert made.strict["f1"] == 1.0


def test_own_answer_without_tags_is_empty(score, own) -> None:
    row = own("rsvqa/lr", "", answer="yes", type="presence") | {"completion": "yes"}
    assert score("earthdial/vqa", row).published["presence"] == 0.0


def test_own_classification_reads_labels_by_vocabulary(score, own) -> None:
    row = own(
        "bigearthnet",
        "Beaches, dunes, sands",
        answer="Beaches, dunes, sands, Pastures",
        labels=["Beaches, dunes, sands", "Pastures"],
        vocabulary=["Beaches, dunes, sands", "Pastures"],
    )
    assert score("earthdial/classify", row).strict["sample_f1"] == pytest.approx(2 / 3)


def test_own_captions_are_all_references(score, own) -> None:
    row = own("captions/rsicd", "a road", captions=["a road", "two fields"])
    assert score("earthdial/caption", row).published["rouge1_f_mean_over_refs"] == 0.5
