from __future__ import annotations

import subprocess
import sys

import pytest
from geovlm_rsvqa import tasks

from geovlm import answers
from geovlm.api import Sample
from geovlm.plugins import builtin, metrics
from geovlm.rewards import paper, robust


@pytest.fixture
def turn_of(prompt_ctx):
    """Build the turn of a question with its gold."""

    def build(question, kind, answer, **target):
        gold = {"answer": answer, "raw": answer, "type": kind, "counts": {}} | target
        return tasks.prompt(Sample(id="1", images=(), question=question, target=gold), prompt_ctx())

    return build


def test_importing_the_plugin_imports_nothing_heavy():
    heavy = "{'numpy', 'PIL', 'torch', 'pydantic', 'rasterio'}"
    code = f"import sys, geovlm_rsvqa; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("0", "0"),
        ("1", "between 0 and 10"),
        ("10", "between 0 and 10"),
        ("11", "between 10 and 100"),
        ("100", "between 10 and 100"),
        ("1000", "between 100 and 1000"),
        ("17139", "more than 1000"),
    ],
)
def test_counts_have_the_official_classes(raw, expected):
    assert tasks.number_class(raw, tasks.COUNT_CLASSES) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [("0m2", "0m2"), ("9m2", "between 0m2 and 10m2"), ("9658m2", "more than 1000m2")],
)
def test_areas_have_the_official_classes(raw, expected):
    assert tasks.number_class(raw, tasks.AREA_CLASSES) == expected


def test_a_question_mark_is_added_where_it_is_missing(turn_of):
    turn = turn_of("Is it a rural or an urban area", "rural_urban", "rural")
    assert turn.question == f"Is it a rural or an urban area? {tasks.SUFFIX}"


def test_the_classes_of_a_count_stand_in_the_question(turn_of):
    turn = turn_of(
        "How many roads are there?",
        "count",
        "between 10 and 100",
        raw="47",
        vocabulary=list(tasks.COUNT_CLASSES),
    )
    assert answers.labels(turn.question, tasks.COUNT_CLASSES) == tasks.COUNT_CLASSES
    assert turn.reasoning == "Counted in the image: 47."


def test_a_comparison_is_reasoned_from_the_counts_of_the_image(turn_of):
    turn = turn_of(
        "Are there more forests than buildings in the image?",
        "comp",
        "no",
        counts={"forests": "49", "buildings": "136"},
    )
    assert turn.reasoning == "Counted: 49 forests, 136 buildings."


def test_rural_or_urban_is_reasoned_from_buildings_first(turn_of):
    turn = turn_of(
        "Is it a rural or an urban area",
        "rural_urban",
        "rural",
        counts={"roads": "1", "buildings": "2", "small buildings": "1", "lakes": "5"},
    )
    assert turn.reasoning == "Counted: 2 buildings, 1 small buildings, 1 roads."


@pytest.mark.parametrize(
    ("question", "thing"),
    [
        ("What is the number of roads?", "roads"),
        ("What is the amount of roads in the image?", "roads"),
        ("How many circular roads next to a road are there?", "circular roads next to a road"),
        ("How many roads are there in the image?", "roads"),
        ("Is there a road?", None),
    ],
)
def test_what_a_question_counts(question, thing):
    assert tasks.counted(question) == thing


@pytest.mark.parametrize("part", ["lr", "hr"])
@pytest.mark.parametrize("reward", [paper.jaccard, robust.exact])
def test_the_gold_answer_earns_the_most(low, high, read, prompt_ctx, reward_ctx, part, reward):
    samples = read({"lr": low, "hr": high}[part], part=part)[0]
    turns = [tasks.prompt(sample, prompt_ctx()) for sample in samples]
    earned = {
        reward(answers.frame(turn), reward_ctx(target=sample.target, answer=turn.answer))
        for sample, turn in zip(samples, turns, strict=True)
    }
    assert earned == {1.0}
    assert max(len(turn.question.split()) for turn in turns) <= 40
    assert max(len(turn.reasoning.split()) for turn in turns) <= 25


def test_naming_both_options_earns_nothing_in_the_robust_set(reward_ctx):
    ctx = reward_ctx(target={"answer": "yes", "vocabulary": ["yes", "no"]}, answer="yes")
    said = "<think> a </think><answer> yes or no </answer>"
    assert robust.exact(said, ctx) == 0.0
    assert paper.jaccard(said, ctx) == pytest.approx(1 / 3)


def test_accuracy_is_given_per_type(prediction):
    said = "<think> a </think><answer> yes </answer>"
    right = prediction(said, target={"answer": "yes", "type": "presence"})
    wrong = prediction(said, target={"answer": "no", "type": "comp"})
    (spec,) = [each for each in builtin.METRICS if each.name == "accuracy"]
    found = metrics.function(spec)([right, right, right, wrong])
    assert found["accuracy"] == 0.75
    assert found["accuracy/comp"] == 0.0
    assert found["accuracy/mean_type"] == 0.5


def test_real_turns_are_short_and_can_be_framed(realdata, read, prompt_ctx):
    turns = [tasks.prompt(s, prompt_ctx()) for s in read(realdata / "RSVQA_LR", "test")[0]]
    assert all(answers.has_answer(answers.frame(turn)) for turn in turns)
    assert max(len(turn.question.split()) for turn in turns) <= 48
    assert max(len(turn.reasoning.split()) for turn in turns) <= 25
