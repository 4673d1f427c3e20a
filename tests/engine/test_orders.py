"""Multiple choice with its choices in another order."""

from __future__ import annotations

from pathlib import Path

import pytest

from geovlm import answers
from geovlm.api import PromptContext, Sample, TaskSpec, Turn
from geovlm.data.prompts import Prompter
from geovlm.engine.evaluation import orders
from geovlm.engine.evaluation.judge import Judge
from geovlm.engine.rows.rows import Row, Rows
from geovlm.plugins import registry
from geovlm.plugins.profiles import QWEN2_5_VL

CHOICES = ("a river", "a road", "a field", "a lake")


def listing(sample: Sample, ctx: PromptContext) -> Turn:
    listed = zip("ABCD", sample.target["choices"], strict=False)
    text = "\n".join(["What is it?", *(f"{letter}. {text}" for letter, text in listed)])
    return Turn(question=text, answer=str(sample.target["answer"]), reasoning="Seen.")


def silent(sample: Sample, ctx: PromptContext) -> Turn:
    return Turn(question="A, B or C?", answer=str(sample.target["answer"]), reasoning="Seen.")


def a_task(prompt: object) -> TaskSpec:
    return TaskSpec(
        name="t/a",
        summary="",
        dataset="d",
        prompt=prompt,
        rewards={"paper": {"exact": 1.0}, "robust": {"exact": 1.0}},
        metrics=("accuracy",),
        primary_metric="accuracy",
    )


def the_rows(*targets: dict[str, object], prompt: object = listing) -> Rows:
    samples = [
        Sample(id=str(at), images=(Path("x.png"),), target=target, image_sizes=((100, 50),))
        for at, target in enumerate(targets)
    ]
    prompter = Prompter(a_task(prompt), profile=QWEN2_5_VL)
    return Rows(samples=samples, prompter=prompter, instruction="")


def four(answer: str, *choices: str) -> dict[str, object]:
    return {"choices": list(choices or CHOICES), "answer": answer}


def test_every_right_answer_has_another_letter_and_the_same_text() -> None:
    rows = the_rows(*(four(letter) for letter in "ABCD" * 5))
    moved = orders.permuted(rows, seed=3)
    assert [row.key for row in moved] == [row.key for row in rows]
    assert not [one for one, two in zip(rows, moved, strict=True) if one.answer == two.answer]
    texts = [row.target["choices"]["ABCD".index(row.answer)] for row in moved]
    assert texts == list(CHOICES) * 5
    assert all(
        f"{row.answer}. {text}" in row.question for row, text in zip(moved, texts, strict=True)
    )
    assert moved == orders.permuted(rows, seed=3)


def test_several_right_answers_move_together() -> None:
    moved = orders.moved(four("A C"), seed="7")
    named = {moved["choices"][at] for at in answers.named_choices(moved["answer"], CHOICES)}
    assert named == {"a river", "a field"}


@pytest.mark.parametrize(
    "target",
    [
        {"answer": "yes"},
        four("A", "a river", "a road", "none of the above"),
        four("A", "a river", "a road", "both A and B"),
        four("E"),
    ],
)
def test_what_cannot_be_moved_is_left_out(target: dict[str, object]) -> None:
    assert orders.moved(target, seed="0") is None


def test_a_task_that_does_not_list_its_choices_is_left_out() -> None:
    assert orders.permuted(the_rows(four("A"), prompt=silent), seed=0) == []


def reported(says_first, says_then) -> dict[str, object]:
    judge = Judge(
        task=a_task(listing), profile=QWEN2_5_VL, registry=registry.load(), resamples=9, seed=0
    )
    rows = the_rows(*(four(letter) for letter in "ABCD"))
    moved = orders.permuted(rows, seed=1)
    real = judge.predictions(rows, [f"<answer>{says_first(row)}</answer>" for row in rows])
    other = judge.predictions(moved, [f"<answer>{says_then(row)}</answer>" for row in moved])
    return orders.report(judge, real, other)


def knows(row: Row) -> str:
    return row.answer


def test_who_knows_follows_the_content() -> None:
    found = reported(knows, knows)
    assert (found["n"], found["content"], found["letter"], found["neither"]) == (4, 1.0, 0.0, 0.0)
    assert found["metrics"]["permuted"]["accuracy"] == 1.0


def test_who_prefers_a_letter_stays_with_it() -> None:
    found = reported(lambda row: "The answer is B", lambda row: "B.")
    assert (found["content"], found["letter"], found["neither"]) == (0.0, 1.0, 0.0)
    assert found["metrics"]["real"]["accuracy"] == 0.25


@pytest.mark.parametrize("text", ["A B C D", "", "I do not know"])
def test_who_names_all_or_none_follows_neither(text: str) -> None:
    assert reported(lambda row: text, lambda row: text)["neither"] == 1.0
