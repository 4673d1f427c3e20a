"""Multiple choice by the rules of CHOICE, XLRS-Bench and GEOBench-VLM, worked out by hand."""

from __future__ import annotations

import pytest

from geovlm.score.protocols.choices import Chosen, choice_letter, first_letter, xlrs_letters

FOUR = ("a river", "a road", "baseball_field", "a lake")


def case(answer: str, right: str = "B") -> Chosen:
    return Chosen("scene", answer, right, FOUR)


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ("B", "B"),
        (" C ", "C"),
        ("D is my choice", "D"),
        ("B.a road", "B"),
        ("The answer is probably C, not B", "C"),
        ("it could be A", "A"),
        ("B) a road", "B"),
        ("no idea", "B"),  # "a", the first word of the right choice, is in it
        ("xyz", ""),
    ],
)
def test_choice_reads_by_its_templates(answer: str, read: str) -> None:
    assert choice_letter(case(answer)) == read


def test_choice_finds_the_first_word_of_the_right_option_alone() -> None:
    assert choice_letter(case("the baseball ground", right="C")) == "C"
    assert choice_letter(case("the baseball ground", right="D")) == "D"  # "a" is in it


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        ("A C", "AC"),
        ("The answer is (B)", "B"),
        ("(A) (d)", "AD"),
        ("C road", "ACD"),  # letters of words count
        ("road", ""),  # without a capital A to E nothing is read
        ("F", ""),
    ],
)
def test_xlrs_reads_letters_wherever_they_stand(answer: str, read: str) -> None:
    assert xlrs_letters(case(answer)) == read


@pytest.mark.parametrize(("answer", "read"), [("B. road", "B"), ("b", ""), ("The B", ""), ("", "")])
def test_geobench_reads_the_first_character(answer: str, read: str) -> None:
    assert first_letter(case(answer)) == read


def test_scores_are_by_kind_over_questions_and_over_kinds(score, own) -> None:
    rows = [
        own("t/t", said, answer="B", type=kind, choices=list(FOUR))
        for said, kind in (("B", "one"), ("B", "one"), ("A", "one"), ("The answer is B", "two"))
    ]
    made = score("choice", *rows)
    assert made.published["one"] == pytest.approx(2 / 3)
    assert made.published["two"] == 1.0
    assert made.published["micro"] == 0.75
    assert made.published["macro"] == pytest.approx(5 / 6)
    assert made.strict["micro"] == 0.75
    assert made.counts == {"micro": 4, "macro": 4, "one": 3, "two": 1}


def test_several_letters_are_right_as_a_set(score, own) -> None:
    rows = [
        own("t/t", said, answer="A C", type="use", choices=list(FOUR))
        for said in ("C A", "A", "A B C D", "AC")
    ]
    made = score("xlrs", *rows)
    assert made.published["micro"] == made.strict["micro"] == 0.5


def test_phrasings_of_a_question_weigh_one_question_together(score, own) -> None:
    shared = {"answer": "B", "type": "scene", "choices": list(FOUR)}
    twice = [own("t/t", said, phrasings=2, **shared) for said in ("B", "A")]
    once = own("t/t", "A", phrasings=1, **shared)
    made = score("geobench_vlm", *twice, once)
    assert made.published["micro"] == 0.25  # one half of the first of two questions
    assert made.counts["micro"] == 2


def test_the_authors_rows_of_choice_are_read(score) -> None:
    row = {
        "id": "6ae0425c-c13d-47a6-93b3-5f773812501c",
        "image_path": "perception/cross_instance_discerment/attribute_comparison/images/1.png",
        "query": "<img>1.png</img>Please select the most appropriate answer.\nAre the two vehicles "
        "in this image the same color?\nA.No\nB.can't judge\nC.Yes",
        "response": "C",
        "label": "A",
        "result": False,
    }
    made = score("choice", row, row | {"response": "A"})
    assert made.published["attribute_comparison"] == 0.5
