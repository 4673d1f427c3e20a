"""CHOICE; rows are those of ShawnAn-WHU/CHOICE (MIT), CHOICE_subset, eb6c430."""

from __future__ import annotations

import pytest
from geovlm_exams import WordingOptions, listing, tasks

from geovlm.errors import DataError, DatasetNotFoundError

MODALITY = {
    "question": "Considering the provided image, which modality does it fall under?"
    "\nA.nighttime light\nB.RGB\nC.false color\nD.SAR",
    "answer": "B",
}
BLANKS = {
    "question": "What is the main purpose of the building in the picture?\nA. Only used as a TV "
    "and radio transmission tower\nB. Only for tourism and sightseeing purposes\nC. Used as both a "
    "television and radio transmission tower, as well as a tourist attraction\nD. Only used for "
    "residential and office buildings",
    "answer": "C",
}
TWICE = {
    "question": "What is the relative position of the silver vehicle to the red vehicle in this "
    "image?\nA.Top Right\nB.Bottom Left\nC.Bottom Right\nD.Top Right",
    "answer": "A",
}
THREE = {
    "question": "Are the two vehicles in this image the same color?\nA.No\nB.can't judge\nC.Yes",
    "answer": "A",
}
GROUNDED = {
    "question": "Please output the coordinates of the roundabout in the image in the format (x1, "
    "y1, x2, y2). Do not include any additional text.",
    "answer": [[0.635, 0.659], [0.71, 0.66], [0.713, 0.584], [0.636, 0.583]],
}
MASKED = {"question": "Give me the mask of the airplane on the left.", "mask_path": "masks/10.png"}


def test_a_question_with_four_choices_is_asked_as_the_authors_ask_it(
    choice_rows, read, ask
) -> None:
    (sample,), _ = read("exams/choice", choice_rows("image_modality", MODALITY))
    made = ask("exams/choice", sample)
    assert made.question == (
        "Please select the most appropriate answer for the following single-choice question from "
        "the given options. Only respond with the corresponding letter (A, B, C or D). Do not "
        "include any additional text.\nConsidering the provided image, which modality does it fall "
        "under?\nA.nighttime light\nB.RGB\nC.false color\nD.SAR"
    )
    assert (made.answer, made.turn.reasoning) == ("B", "Of the 4 choices this fits the image: RGB")
    assert sample.target["type"] == "image_modality"
    assert sample.target["dimension"] == "single_instance_identification"


def test_a_question_with_three_choices_has_words_of_its_own(choice_rows, read, ask) -> None:
    (sample,), _ = read("exams/choice", choice_rows("attribute_comparison", THREE))
    assert ask("exams/choice", sample).question == (
        "Please select the most appropriate answer for the following single-choice question from "
        "the given options. Only respond with the corresponding letter (A or B or C). Do not "
        "include any additional text.\nAre the two vehicles in this image the same color?\nA.No\n"
        "B.can't judge\nC.Yes"
    )


@pytest.mark.parametrize("row", [MODALITY, BLANKS, TWICE, THREE])
def test_a_listing_keeps_every_character(row: dict[str, str]) -> None:
    assert listing.parse(row["question"]).text() == row["question"]


def test_the_plain_wording_lists_the_choices(choice_rows, read, ask) -> None:
    (sample,), _ = read("exams/choice", choice_rows("image_modality", MODALITY))
    assert ask("exams/choice", sample, WordingOptions(wording="plain")).question == (
        "Considering the provided image, which modality does it fall under?\nA. nighttime light\n"
        "B. RGB\nC. false color\nD. SAR\nAnswer with the letter of the right choice."
    )


def test_a_box_is_the_hull_of_the_corners_in_pixels(choice_rows, read, ask) -> None:
    root = choice_rows("visual_grounding", GROUNDED)
    (sample,), _ = read("exams/choice", root)
    assert sample.target["boxes"] == [pytest.approx([63.5, 29.15, 71.3, 33.0])]
    assert list(tasks.closed(sample)) == []
    assert ask("exams/choice_ground", sample).question == GROUNDED["question"]


def test_rows_with_masks_and_without_images_are_counted(choice_rows, read) -> None:
    root = choice_rows("image_modality", MODALITY, MASKED, MODALITY)
    next(root.rglob("2.png")).unlink()
    samples, skipped = read("exams/choice", root)
    assert len(samples) == 1
    assert skipped == {"mask: there is no task for it": 1, "image missing": 1}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"question": "Which?\nA.one\nC.three", "answer": "A"}, "not choices with the letters"),
        ({"question": "Which?", "answer": "A"}, "not choices with the letters"),
        ({"question": "Which?\nA.\nB.x", "answer": "A"}, "a choice is empty"),
        ({"question": "Which?\nA.one\nB.two", "answer": "C"}, "'C' is no letter of its choices"),
        ({"question": "Which?\nA.one\nB.two", "answer": "AB"}, "'AB' is no letter of its choices"),
        ({"question": "Where?", "answer": [0.1, 0.2, 0.3, 0.4]}, "nor four corners"),
        ({"question": "Where?", "answer": [[0, 0], [0, 2], [1, 1], [1, 0]]}, "nor four corners"),
        ({"question": 3, "answer": "A"}, "no text 'question'"),
    ],
)
def test_a_row_of_another_form_is_refused_by_name(choice_rows, read, row, words: str) -> None:
    root = choice_rows("image_modality", MODALITY, row)
    with pytest.raises(DataError, match=rf"row 1 of .*image_modality.json.*{words}"):
        read("exams/choice", root)


def test_there_are_no_training_rows_but_ones_own(choice_rows, read) -> None:
    root = choice_rows("image_modality", MODALITY)
    with pytest.raises(DatasetNotFoundError, match="CHOICE is a test set"):
        read("exams/choice", root, "train")
    (sample,), _ = read("exams/choice", choice_rows("image_quality", THREE, below="train"), "train")
    assert sample.id == "train/image_quality/id0"
