"""Token recall, exact answers, label sets and ROUGE; ROUGE against rouge-score itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rouge_score.rouge_scorer import RougeScorer

from geovlm.score.protocols.text import words


def test_token_recall_is_the_share_of_the_truths_words() -> None:
    # truth: "water", ",", "forest"; the answer has "forest" alone
    assert words.token_recall("water, forest", "forest") == pytest.approx(1 / 3)


def test_token_recall_does_not_punish_extra_words() -> None:
    assert words.token_recall("yes", "yes, no") == 1.0


def test_token_recall_joins_words_without_a_comma() -> None:
    assert words.token_recall("yes", "yes no") == 0.0  # one word: "yesno"


def test_token_recall_counts_a_comma_as_a_word() -> None:
    # "a,b": 3 words, of which a wrong "c,d" has the comma
    assert words.token_recall("aa, bb", "cc, dd") == pytest.approx(1 / 3)


def test_repeated_commas_keep_a_perfect_answer_below_one() -> None:
    # "aa,bb,cc": 5 words, 4 different
    assert words.token_recall("aa, bb, cc", "aa, bb, cc") == pytest.approx(0.8)


def test_token_recall_of_an_empty_truth_is_zero() -> None:
    assert words.token_recall("", "water") == 0.0


def test_exact_ignores_case_blanks_and_the_full_stop() -> None:
    assert words.exact("MediumResidential", "medium residential.")


def test_exact_does_not_accept_two_answers() -> None:
    assert not words.exact("yes", "yes, no")


def test_labels_are_split_at_commas_without_a_vocabulary() -> None:
    assert words.label_set("Water, bare land") == {"water", "bareland"}


@pytest.mark.parametrize("text", ["水体，森林", "森林、水体", "水体；森林"])
def test_labels_are_split_at_the_separators_of_other_scripts(text: str) -> None:
    assert words.label_set(text) == {"水体", "森林"}


def test_labels_with_commas_are_read_by_vocabulary() -> None:
    vocabulary = ("Beaches, dunes, sands", "Pastures")
    assert words.label_set("beaches, dunes, sands, pastures", vocabulary) == {
        "beaches,dunes,sands",
        "pastures",
    }


def test_set_f1_of_one_hit_among_two_and_three() -> None:
    # 2 * 1 / (2 + 3)
    assert words.set_f1(frozenset("ab"), frozenset("bcd")) == pytest.approx(0.4)


def test_rouge_by_hand() -> None:
    # wanted: a b c d, said: a c b; three words in common, a b (or a c) in order
    made = words.rouge("aa bb cc dd", "aa cc bb")
    assert made == pytest.approx((2 * 3 / 7, 2 * 2 / 7))


def test_rouge_counts_a_repeated_word_as_often_as_both_have_it() -> None:
    # "the the the" and "the": one in common
    assert words.rouge("the", "the the the").rouge1 == pytest.approx(2 / 4)


def test_rouge_of_an_empty_answer_is_zero() -> None:
    assert words.rouge("a road", "") == (0.0, 0.0)


@pytest.mark.parametrize(
    ("truth", "answer"),
    [
        ("Several buildings are being built.", "a building was built near 2 roads"),
        ("there isn't any change", "there is no change"),
        ("the scenes seem identical", "THE SCENES' identity seems identical; identical!"),
        ("œuvre naïve", "oeuvre naive"),
    ],
)
def test_rouge_equals_rouge_score(truth: str, answer: str) -> None:
    expected = RougeScorer(["rouge1", "rougeL"], use_stemmer=True).score(truth, answer)
    made = words.rouge(truth, answer)
    assert made.rouge1 == pytest.approx(expected["rouge1"].fmeasure, abs=1e-12)
    assert made.rougeL == pytest.approx(expected["rougeL"].fmeasure, abs=1e-12)


def test_spread_text_scores_like_the_words_of_nltk() -> None:
    from nltk.tokenize import NLTKWordTokenizer

    texts = ["you cannot see it", "they don't, do they?", "a (small) road -- gonna end."]
    told = [" ".join(NLTKWordTokenizer().tokenize(text)) for text in texts]
    assert [words.stems(words.spread(text)) for text in texts] == list(map(words.stems, told))


def test_rouge_equals_rouge_score_on_published_answers(realdata: Path) -> None:
    path = realdata / "EarthDial_eval_results" / "rs_change_detection" / "LEVIR_MCI.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=True)
    scored = [scorer.score(row["caption1"], row["answer"]) for row in rows]
    expected = [value for each in scored for value in (each["rouge1"][2], each["rougeL"][2])]
    made = [value for row in rows for value in words.rouge(row["caption1"], row["answer"])]
    assert made == pytest.approx(expected, abs=1e-12)
