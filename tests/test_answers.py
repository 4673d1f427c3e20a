from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geovlm import answers
from geovlm.api import Turn

GOLD = "<think> Two ships lie at the quay. </think><answer> 2 </answer>"
BIGEARTHNET = (
    "Agro-forestry areas",
    "Arable land",
    "Beaches, dunes, sands",
    "Land principally occupied by agriculture, with significant areas of natural vegetation",
    "Mixed forest",
    "Transitional woodland, shrub",
)


def test_the_frame_holds_reasoning_and_answer() -> None:
    turn = Turn(question="How many?", answer="2", reasoning="Two ships lie at the quay.")
    assert answers.frame(turn) == GOLD


@pytest.mark.parametrize(
    ("reasoning", "answer"),
    [
        ("", "2"),
        (" ", "2"),
        ("Two.", ""),
        ("</think>", "2"),
        ("Two.", "<answer> 2"),
        ("a" * 20_000, "2"),
    ],
)
def test_a_turn_that_would_not_earn_the_format_rewards_is_refused(
    reasoning: str, answer: str
) -> None:
    with pytest.raises(ValueError, match="needs reasoning and an answer"):
        answers.frame(Turn(question="?", answer=answer, reasoning=reasoning))


@pytest.mark.parametrize(
    ("completion", "think", "answer"),
    [
        (GOLD, True, True),
        ("<think> a </think>\n\n<answer> b </answer> \n\t", True, True),
        ("Well. <think>a</think> So: <answer>b</answer>", True, True),
        ("", False, False),
        ("b", False, False),
        ("<answer>b</answer>", False, True),
        ("<think>a</think>", True, False),
        ("<think>a</think> b", True, False),
        ("<think>a</think><answer>b", True, False),
        ("<think>a</think>b</answer>", True, False),
        ("<think>a<answer>b</answer>", False, True),
        ("a</think><answer>b</answer>", False, True),
        ("</think>a<think><answer>b</answer>", False, True),
        ("<think>a</think></answer>b<answer>", True, False),
        ("<think></think><answer>b</answer>", False, True),
        ("<think> \n </think><answer>b</answer>", False, True),
        ("<think>a</think><answer></answer>", True, False),
        ("<think>a</think><answer> \t </answer>", True, False),
        ("<think>a</think><answer>b</answer> and more", True, False),
        ("<think>a</think><answer>b</answer><|im_end|>", True, False),
        ("<think>a</think><think>a</think><answer>b</answer>", False, True),
        ("<think>a<think>a</think></think><answer>b</answer>", False, True),
        ("<think>a</think><answer>b</answer><answer>b</answer>", True, False),
        ("<think>a</think><answer>b<answer>c</answer></answer>", True, False),
        ("<answer>b</answer><think>a</think>", False, False),
        ("<think>a<answer>b</answer></think>", False, False),
        ("<think>a<answer>b</think></answer>", False, False),
        ("<answer><think>a</think>b</answer>", False, False),
        ("<answer>b<think>a</think>", False, False),
        ("<think>a, then <answer></think><answer>b</answer>", False, False),
        ("<think>a</think><answer>b</answer><think>", False, False),
        ("<Think>a</Think><ANSWER>b</ANSWER>", False, False),
        ("< think >a</think><answer >b</answer>", False, False),
        ("<think>a</think><answer>b</answer>" + " " * 20_000, True, False),
    ],
)
def test_each_malformed_case_loses_the_documented_flag(
    completion: str, think: bool, answer: bool
) -> None:
    assert (answers.has_think(completion), answers.has_answer(completion)) == (think, answer)


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        (GOLD, "2"),
        ("no tags", ""),
        ("<answer>a</answer><answer> b </answer>", "b"),
        ("<answer>a</answer><answer>b", "a"),
        ("<answer>a<answer>b</answer></answer>", "b"),
        ("</answer>a<answer>", ""),
        ("<answer>a</answer><answer></answer>", ""),
    ],
)
def test_the_answer_is_the_last_closed_block(completion: str, expected: str) -> None:
    assert answers.answer_text(completion) == expected


def test_the_thought_is_the_last_closed_block() -> None:
    assert answers.think_text(GOLD) == "Two ships lie at the quay."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Yes. ", "yes"),
        ("**Two   ships**", "two ships"),
        ("ＡＢＣ", "abc"),
        ("Straße", "strasse"),
        ("-5.", "-5"),
        ("-.5", "-.5"),
        ("- item", "item"),
        ("no-damage", "no-damage"),
        ("…", "..."[:0]),
        ("", ""),
    ],
)
def test_text_is_normalised(text: str, expected: str) -> None:
    assert answers.normalise(text) == expected


def test_words_are_tokens_of_the_normalised_text() -> None:
    assert answers.words("A ship, a Quay: 12 m2!") == ["a", "ship", "a", "quay", "12", "m2"]


@pytest.mark.parametrize(
    ("text", "vocabulary", "expected"),
    [
        ("Mixed forest, Arable land", BIGEARTHNET, ("Mixed forest", "Arable land")),
        ("beaches, dunes, sands, arable land", BIGEARTHNET, (BIGEARTHNET[2], "Arable land")),
        (BIGEARTHNET[3], BIGEARTHNET, (BIGEARTHNET[3],)),
        ("beaches dunes sands", BIGEARTHNET, (BIGEARTHNET[2],)),
        ("Transitional woodland/shrub", BIGEARTHNET, (BIGEARTHNET[5],)),
        ("MediumResidential", ("Medium Residential", "Residential"), ("Medium Residential",)),
        ("medium  residential.", ("MediumResidential",), ("MediumResidential",)),
        ("medium_residential", ("Medium Residential",), ("Medium Residential",)),
        ("dense residential", ("residential", "dense residential"), ("dense residential",)),
        ("underwater waters", ("water",), ()),
        ("water, Water, WATER", ("water",), ("water",)),
        ("no-damage", ("damage", "no-damage"), ("no-damage",)),
        ("b, a", ("a", "b"), ("b", "a")),
        ("a", (), ()),
        ("++", ("++", ""), ()),
    ],
)
def test_labels_are_matched_against_the_vocabulary(
    text: str, vocabulary: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert answers.labels(text, vocabulary) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", 12.0),
        ("There are 12.", 12.0),
        ("1,234.5 m2", 1234.5),
        ("120m2", 120.0),
        ("B04 has 3 m2", 3.0),
        ("-0.5", -0.5),
        ("−7", -7.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("between 0 and 10", 10.0),
        ("3-4", 4.0),
        ("1,2,3", 3.0),
        ("none", None),
        ("m2", None),
        ("", None),
        ("1e999", None),
        ("٣", None),
        ("nan", None),
        ("9" * 400, None),
    ],
)
def test_the_last_number_is_read(text: str, expected: float | None) -> None:
    assert answers.number(text) == expected


def _everything(text: str) -> tuple[object, ...]:
    return (
        answers.has_think(text),
        answers.has_answer(text),
        answers.answer_text(text),
        answers.think_text(text),
        answers.normalise(text),
        answers.words(text),
        answers.labels(text, BIGEARTHNET),
        answers.number(text),
    )


@settings(deadline=None)
@given(st.text(alphabet=st.one_of(st.characters(), st.sampled_from("<>/,.-0159e \x00"))))
def test_no_text_raises(text: str) -> None:
    _everything(text)


@settings(deadline=None)
@given(st.text())
def test_normalising_twice_is_normalising_once(text: str) -> None:
    once = answers.normalise(text)
    assert answers.normalise(once) == once


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", " ", "a", "b"]), max_size=9
    ).map("".join)
)
def test_both_flags_mean_one_thought_then_one_answer(text: str) -> None:
    both = answers.has_think(text) and answers.has_answer(text)
    thought, answer = answers.think_text(text), answers.answer_text(text)
    order = [text.find(tag) for tag in ("<think>", "</think>", "<answer>", "</answer>")]
    single = all(text.count(tag) == 1 for tag in ("<think>", "</think>", "<answer>", "</answer>"))
    ends = text.rstrip().endswith("</answer>")
    assert both == (single and sorted(order) == order and ends and bool(thought and answer))


def mangled(seed: int) -> str:
    """A valid completion after one to four of the accidents that happen to model text."""
    rng = random.Random(seed)
    text = "<think> Two ships. </think><answer> [1, 2, 30, 40], [5, 6, 70, 80, 12] 3.5 m2 </answer>"
    hostile = [
        "\x00",
        "nan",
        "1e999",
        "٣",
        "<answer>",
        "</think>",
        "9" * 300,
        "[",
        "{<1>",
        "-",
        "((",
        "\ud800",
    ]
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(text) + 1)
        end = rng.randint(place, len(text))
        text = rng.choice(
            [
                text[:place],
                text[place:],
                text[:place] + text[end:],
                text[:end] + text[place:],
                text[:place] + rng.choice(hostile) + text[place:],
                text.replace(rng.choice("0123456789"), rng.choice(hostile), 2),
            ]
        )
    return text


def test_ten_thousand_mangled_completions_never_raise() -> None:
    results = [_everything(mangled(seed)) for seed in range(10_000)]
    assert len({result[2] for result in results}) > 1000


@pytest.mark.parametrize(
    "unit",
    [
        "<think>",
        "<answer>",
        "</answer>",
        "<",
        " ",
        "1,",
        "1,111",
        "9",
        "1.",
        "arable ",
        "arable   ",
        "e1",
        "-",
        "ﷺ",
        "beaches,",
    ],
)
def test_hostile_repetition_takes_linear_time(unit: str) -> None:
    text = (unit * 1_000_000)[: 50 * answers.MAX_CHARS]
    answers.labels("", BIGEARTHNET)
    started = time.process_time()
    _everything(text)
    assert time.process_time() - started < 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("नदी के पास", ["नदी", "के", "पास"]),
        ("森林 and forêt", ["森", "林", "and", "forêt"]),
        ("カナ ｶﾅ", ["カ", "ナ", "カ", "ナ"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("می\u200cشود", ["میشود"]),
        ("🌳\ufe0f 🌊", []),
        ("İstanbul", ["i̇stanbul"]),
    ],
)
def test_words_of_other_scripts_keep_their_marks(text: str, expected: list[str]) -> None:
    assert answers.words(text) == expected


@pytest.mark.parametrize(
    "label", ["नदी", "ป่าไม้", "水体", "می\u200cشود", "ﬁeld", "forêt d'eau", "a.b"]
)
def test_a_label_of_any_spelling_is_found(label: str) -> None:
    assert answers.labels(f"({label}), x", [label, "x"]) == (label, "x")


def test_a_label_is_not_the_beginning_of_a_word_with_a_vowel_sign() -> None:
    assert answers.labels("पानी", ["पान"]) == ()


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("B", 1),
        ("(b)", 1),
        ("b.", 1),
        ("B. a road", 1),
        ("B) A road.", 1),
        ("a road", 1),
        ("A", 0),
        ("A: a road", None),
        ("a river or a road", None),
        ("A or B", None),
        ("E", None),
        ("", None),
    ],
)
def test_a_choice_is_a_letter_its_text_or_both(text: str, right: int | None) -> None:
    assert answers.choice(text, ["a river", "a road", "a field", "a lake"]) == right


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("The answer is B.", (1,)),
        ("It could be A. No, the answer is (B).", (1,)),
        ("Option A is wrong; the correct option: **C**", (2,)),
        ("The options are A, B, C and D. I take B.", (1,)),
        ("B, because the river is far", (1,)),
        ("\\boxed{D}", (3,)),
        ("so it must be\nD", (3,)),
        ("there is a road", (1,)),
        ("A C", (0, 2)),
        ("A, C", (0, 2)),
        ("CA", (0, 2)),
        ("Answer: A and C.", (0, 2)),
        ("(A) a river (C) a field", (0, 2)),
        ("The answer is A or B", ()),
        ("a road; a lake or a field", ()),
        ("The answer is E.", ()),
        ("A F", ()),
        ("(D) A road.", ()),
        ("A river bends here", (0,)),
    ],
)
def test_choices_are_named_by_statement_mark_or_text(text: str, named: tuple[int, ...]) -> None:
    assert answers.named_choices(text, ["a river", "a road", "a field", "a lake"]) == named


@pytest.mark.parametrize(
    "form", ["{0} {1} {2}", "{0}; {1}; {2}", "{0}. {1}. {2}.", "{0}\n{1}\n{2}"]
)
@pytest.mark.parametrize("words", [("A", "B", "C"), ("a river", "a road", "a lake")])
def test_who_names_every_choice_names_every_one(form: str, words: tuple[str, ...]) -> None:
    found = answers.named_choices(form.format(*words), ["a river", "a road", "a lake"])
    assert found == (0, 1, 2)


@pytest.mark.parametrize(
    "text", ["answer", "A", "A, ", "answer is A, ", "(", "or A", "B\n", "a road "]
)
def test_choices_are_read_in_linear_time(text: str) -> None:
    started = time.process_time()
    answers.named_choices(text + " " * 9_000 + text * (9_000 // len(text)), ["a road", "a lake"])
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    "text",
    [
        " the scene is the same as before .",
        "there is no difference",
        "the two scenes seem identical",
        "no change has occurred",
        "almost nothing has changed",
        "Everything remains the same.",
        "There is no change to mention in this area.",
        "No change was made.",
        "The area appears the same.",
        "All remained the same in this area.",
        "No difference between the two images",
        "the buildings have not changed",
    ],
)
def test_sentences_without_a_change_are_known(text: str) -> None:
    assert answers.says_unchanged(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing",
        "no",
        "Nothing has changed, but a road was built.",
        "there is no difference and there is no difference",
        "There is no road.",
        "the same buildings are the same as before the road was built",
        "A road crossing appeared in the not urbanized area.",
        "there is no difference " * 500,
    ],
)
def test_other_sentences_do_not_state_that_nothing_changed(text: str) -> None:
    assert not answers.says_unchanged(text)
