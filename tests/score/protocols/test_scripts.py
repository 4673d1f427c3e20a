"""Captions in other scripts: right ones score 1, and a measure that cannot read them says so."""

from __future__ import annotations

import unicodedata

import pytest

from geovlm.cli import main
from geovlm.rewards import text
from geovlm.score.protocols.text import letters, words

CAPTIONS = {
    "Chinese": ("三艘船停在码头旁边", "一条路通向小村庄"),
    "Japanese": ("三隻の船が港にあります", "道路が畑を横切っている"),
    "Thai": ("เรือสามลำจอดอยู่ที่ท่าเรือ", "ถนนผ่านหมู่บ้าน"),
    "Khmer": ("ទូកបីនៅក្នុងកំពង់ផែ", "ផ្លូវឆ្លងកាត់ភូមិ"),
    "Hindi": ("बंदरगाह में तीन जहाज खड़े हैं", "सड़क गाँव से होकर जाती है"),
    "Arabic": ("ثلاث سفن في الميناء القديم", "طريق يمر عبر القرية الصغيرة"),
    "Russian": ("три корабля стоят у причала", "дорога проходит через деревню"),
    "Greek": ("τρία πλοία είναι στο λιμάνι", "ένας δρόμος περνά το χωριό"),
    "Korean": ("항구에 배 세 척이 있습니다", "도로가 마을을 지나갑니다"),
}
UNSPACED = ("Chinese", "Japanese", "Thai", "Khmer")
ROUGE = ("rouge1_f_mean_over_refs", "rougeL_f_mean_over_refs")


def row(answer: str, *references: str) -> dict:
    return {"answer": answer, **{f"caption{i}": each for i, each in enumerate(references)}}


@pytest.mark.parametrize("language", CAPTIONS)
def test_a_right_caption_scores_one_in_any_script(score, language: str) -> None:
    right, other = CAPTIONS[language]
    made = score("earthdial/caption", row(right, right, other))
    assert made.strict["rougeL_f_best_ref"] == made.strict["rouge1_f_best_ref"] == 1.0


@pytest.mark.parametrize("language", CAPTIONS)
def test_a_wrong_caption_scores_less_than_half(score, language: str) -> None:
    right, other = CAPTIONS[language]
    assert score("earthdial/caption", row(other, right)).strict["rougeL_f_best_ref"] < 0.5


@pytest.mark.parametrize("language", CAPTIONS)
def test_rouge_score_is_left_out_with_the_reason(score, language: str) -> None:
    right, other = CAPTIONS[language]
    made = score("earthdial/caption", row(right, right, other))
    assert not set(ROUGE) & {*made.published, *made.counts, *made.ci95["published"]}
    assert "a to z" in made.left_out[ROUGE[0]]


@pytest.mark.parametrize("language", CAPTIONS)
def test_scores_of_words_between_blanks_are_left_out_where_there_are_none(
    score, language: str
) -> None:
    right, other = CAPTIONS[language]
    made = score("change_caption", row(right, right, right), row(other, other, other))
    assert ("bleu1" in made.published) == (language not in UNSPACED)
    assert made.strict["bleu2"] == pytest.approx(1.0)
    assert made.strict["rougeL"] == 1.0
    assert "change_accuracy" not in made.published


def test_characters_of_chinese_are_words_of_the_strict_captions(score) -> None:
    made = score("change_caption", row("新建了道路", "新建了房屋"))
    # three of five characters, each a word: BLEU-1 and ROUGE-L are 3 / 5
    assert made.strict["bleu1"] == pytest.approx(0.6)
    assert made.strict["rougeL"] == pytest.approx(0.6)


def test_digits_alone_do_not_make_a_chinese_caption_right(score) -> None:
    made = score("earthdial/caption", row("3条河", "3座桥"))
    assert "rougeL_f_mean_over_refs" not in made.published
    # one of three words on each side
    assert made.strict["rougeL_f_best_ref"] == pytest.approx(1 / 3)


def test_an_ignored_half_of_a_caption_is_stated(score) -> None:
    made = score("earthdial/caption", row("two planes 森林", "two planes 码头"))
    # 9 Latin letters of 11; strict: two of four words
    assert made.published["rougeL_f_mean_over_refs"] == 1.0
    assert made.strict["rougeL_f_best_ref"] == 0.5
    assert made.notes == [
        "the published ROUGE ignores all letters but a to z and 0 to 9: 18.2% of the references' "
        "letters, 18.2% of the answers'; the strict one reads them all"
    ]


def test_an_ignored_part_of_the_answers_is_stated_too(score) -> None:
    made = score("earthdial/caption", row("two planes 森林里", "two planes"))
    assert made.published["rougeL_f_mean_over_refs"] == 1.0
    assert "0.0% of the references' letters, 25.0% of the answers'" in made.notes[0]


def test_the_note_is_printed_before_the_scores(write, capsys) -> None:
    path = write(row("two planes 森林", "two planes 码头"))
    with pytest.raises(SystemExit):
        main(["score", str(path), "--protocol", "earthdial/caption"])
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("earthdial/caption: the published ROUGE ignores")


def test_english_captions_are_published_without_a_note(score) -> None:
    made = score("earthdial/caption", row("two planes", "two planes near a café terminal"))
    assert set(ROUGE) <= set(made.published)
    assert score("earthdial/caption", row("two planes", "two planes")).notes == []


def test_accents_belong_to_their_word(score) -> None:
    made = score("earthdial/caption", row("la fôret", "la forêt"))
    assert made.strict["rougeL_f_best_ref"] == 0.5
    # rouge-score reads "la f ret" and "la for t": one of three words
    assert made.published["rougeL_f_mean_over_refs"] == pytest.approx(1 / 3)


def test_spellings_of_one_text_are_equal(score) -> None:
    composed = "la forêt dorée"
    made = score("earthdial/caption", row(unicodedata.normalize("NFD", composed), composed))
    assert made.strict["rougeL_f_best_ref"] == 1.0


def test_vowel_signs_tell_words_apart(score) -> None:
    # water and a leaf: equal without their vowel signs
    made = score("change_caption", row("पानी", "पान"))
    assert made.published["bleu1"] == 0.0
    assert score("earthdial/caption", row("पानी", "पान")).strict["rougeL_f_best_ref"] == 0.0


def test_emoji_alone_are_right_if_they_are_the_same(score) -> None:
    made = score("earthdial/caption", row("🌳🌊", "🌳🌊"), row("🌊", "🌳"))
    assert made.strict["rougeL_f_best_ref"] == made.strict["exact"] == 0.5
    assert "hold no letter" in made.left_out["rougeL_f_mean_over_refs"]


def test_other_emoji_are_no_exact_change_caption(score) -> None:
    assert score("change_caption", row("🌊", "🌳")).strict["exact"] == 0.0


def test_no_bleu_without_a_reference_of_so_many_words(score) -> None:
    made = score("change_caption", row("new road", "new road"))
    assert (made.published["bleu2"], "bleu3" in made.published) == (pytest.approx(1.0), False)
    assert made.left_out["bleu3"] == "needs a reference of 3 words"


def test_a_single_pair_has_no_cider(score) -> None:
    made = score("change_caption", row("a new road", "a new road"))
    assert "cider" not in {*made.published, *made.strict}
    assert made.left_out["cider"] == "needs two pairs"


def test_one_half_of_the_pairs_has_no_balanced_accuracy(score) -> None:
    made = score("change_caption", row("anything at all", "a road is built", "a road appears"))
    assert "balanced_accuracy" not in made.strict
    assert made.left_out["balanced_accuracy"] == "needs pairs of both halves"


def test_grounded_captions_of_other_scripts(score) -> None:
    said = "一艘船 [[10, 10, 40, 40, 0]]"
    made = score(
        "earthdial/grounding",
        {"answer": said, "groundtruth": said, "obj_ids": "[[10, 10, 40, 40, 0]]"},
    )
    assert made.strict["rougeL_f"] == 1.0
    assert "rougeL_f" not in made.published


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("two forêts", (9, 8, 9)),
        ("3条河", (3, 1, 1)),
        ("ถนน", (3, 0, 0)),
        ("🌳 !", (0, 0, 0)),
    ],
)
def test_letters_are_counted_by_kind(sentence: str, expected: tuple[int, int, int]) -> None:
    assert letters.letters(sentence) == expected


def test_rouge_of_any_script_is_that_of_rouge_score_for_ascii() -> None:
    truth, answer = "Several_buildings are being built.", "A building was built near 2 roads"
    assert text.rouge(text.stems(truth), text.stems(answer)) == words.rouge(truth, answer)
    assert text.stems(truth) == words.stems(truth)


def test_points_are_equal_only_to_the_same_points() -> None:
    assert words.exact("...", "...")
    assert not words.exact("...", "?")
