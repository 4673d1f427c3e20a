"""Similarity of texts of any script, as rewards and the caption metric use it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from rouge_score.rouge_scorer import RougeScorer

from geovlm.rewards import robust, text
from geovlm.rewards.reading import references

RIGHT = (
    "三艘船停在码头",
    "เรือสามลำ",
    "तीन जहाज खड़े हैं",
    "три корабля",
    "ثلاث سفن",
    "la forêt dorée",
    "🌳🌊",
    "two ships",
)


@pytest.mark.parametrize("right", RIGHT)
def test_the_same_text_is_worth_one(right: str) -> None:
    ctx = SimpleNamespace(target={"captions": [right]})
    assert text.rouge_l(right, right) == 1.0
    assert text.overlap(right, right) == 1.0
    assert robust.caption_f1(f"<answer>{right}</answer>", ctx) == 1.0


@pytest.mark.parametrize("right", RIGHT)
@pytest.mark.parametrize("other", ["🌋", "", "xyzzy", "水"])
def test_another_text_is_worth_nothing(right: str, other: str) -> None:
    ctx = SimpleNamespace(target={"captions": [right]})
    assert text.rouge_l(other, right) == 0.0
    assert text.overlap(other, right) == 0.0
    assert robust.caption_f1(f"<answer>{other}</answer>", ctx) == 0.0


def test_rouge_l_reads_the_part_of_another_script() -> None:
    # of "two", "planes" and two characters each, two words in common
    assert text.rouge_l("two planes 森林", "two planes 码头") == 0.5


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("a building was built near 2 roads", "Several buildings are being built."),
        ("THE SCENES' identity; identical!", "the scenes_seem identical"),
        ("", "a road"),
    ],
)
def test_rouge_l_of_ascii_is_rouge_score(answer: str, reference: str) -> None:
    expected = RougeScorer(["rougeL"], use_stemmer=True).score(reference, answer)["rougeL"].fmeasure
    assert text.rouge_l(answer, reference) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"captions": ["a", None, " "]}, ("a",)),
        ({"captions": [None], "answer": "b"}, ("b",)),
        ({"captions": "a road"}, ("a road",)),
        ({"text": " ", "answer": 3}, ("3",)),
        ({"captions": []}, ()),
    ],
)
def test_null_and_blank_texts_are_no_references(target: dict, expected: tuple) -> None:
    assert references(target) == expected
