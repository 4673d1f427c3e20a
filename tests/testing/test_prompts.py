from __future__ import annotations

import pytest

from tests.conforming_plugin import changed


@pytest.mark.parametrize("token", ["<image>", "<|image_pad|>", "<IMG_CONTEXT>", "<|im_end|>"])
def test_a_token_in_a_question_is_named(broken, token) -> None:
    found = broken(changed("What is it?", f"{token} What is it?"))
    assert list(found) == ["prompts_clean"]
    assert found["prompts_clean"][0] == (
        f"task 'toy/name', sample 'train-0': its question holds the token {token!r}"
    )


def test_an_empty_answer_is_named(broken) -> None:
    found = broken(changed("answer=answer, ", 'answer=" ", '))
    assert list(found) == ["prompts_clean"]
    assert found["prompts_clean"][0] == "task 'toy/name', sample 'train-0': its answer is empty"


def test_a_tag_in_an_answer_is_named(broken) -> None:
    found = broken(changed("answer=answer, ", 'answer="</answer>", '))
    assert list(found) == ["prompts_clean"]
    assert "wrote an answer with the tag </answer>" in found["prompts_clean"][0]


def test_a_prompt_that_raises_is_named(broken) -> None:
    found = broken(changed('sample.target["answer"]\n', 'sample.target["anser"]\n'))
    assert found == {
        "prompts_clean": [
            "prompt of task 'toy/name', sample 'train-0', profile 'qwen2.5-vl', raised KeyError: "
            "'anser'"
        ]
    }


def test_an_absent_reasoning_is_named(broken) -> None:
    found = broken(changed(', reasoning=f"It looks like {answer}."', ""))
    assert list(found) == ["reasoning_present"]
    assert found["reasoning_present"][0] == (
        "task 'toy/name', sample 'train-0': there is no reasoning: derive a short, true one from "
        "the annotation, or declare the task with reasoning='none'"
    )


def test_a_task_without_reasoning_conforms(broken) -> None:
    answers_alone = changed(', reasoning=f"It looks like {answer}."', "")
    declared = answers_alone.replace("prompt=name,", 'prompt=name, reasoning="none",')
    assert broken(declared) == {}


def test_reasoning_of_a_task_that_has_none_is_named(broken) -> None:
    found = broken(changed("prompt=name,", 'prompt=name, reasoning="none",'))
    assert list(found) == ["prompts_clean"]
    assert (
        "wrote reasoning for sample 'train-0', and has reasoning='none'"
        in (found["prompts_clean"][0])
    )


def test_a_reasoning_that_only_repeats_the_answer_is_named(broken) -> None:
    found = broken(changed("It looks like {answer}.", "So the answer is {answer}."))
    assert list(found) == ["reasoning_present"]
    assert found["reasoning_present"][0] == (
        "task 'toy/name', sample 'train-0': the reasoning 'So the answer is water.' only repeats "
        "the answer"
    )
