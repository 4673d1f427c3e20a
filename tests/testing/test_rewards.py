from __future__ import annotations

from geovlm.testing.kit import RULES
from tests.conforming_plugin import changed

COMPARED = 'return float(text == ctx.target["answer"])'


def test_gold_that_earns_less_than_the_maximum_is_named(broken) -> None:
    assert broken(changed(COMPARED, 'return 0.9 * float(text == ctx.target["answer"])')) == {
        "gold_scores_maximum": [
            "reward 'toy/same' of task 'toy/name' gives 0.9 to the correct answer 'water' of "
            "sample 'train-0' with profile 'qwen2.5-vl', should be at least 1"
        ]
    }


def test_gold_boxes_that_are_not_in_the_models_frame_are_named(broken) -> None:
    stored = "boxes.write(held, ctx)"
    found = broken(changed(stored, '", ".join(str(list(map(round, box[:4]))) for box in held)'))
    assert list(found) == ["gold_scores_maximum"]
    assert found["gold_scores_maximum"][0].startswith(
        "reward 'detection' of task 'toy/find' gives 0 to the correct answer '["
    )
    assert "with profile 'qwen2-vl'" in found["gold_scores_maximum"][0]


def test_a_reward_that_applies_to_nothing_is_named(broken) -> None:
    assert broken(changed(COMPARED, "return None")) == {
        "gold_scores_maximum": [
            "reward 'toy/same' applies to no sample of task 'toy/name', which lists it"
        ]
    }


def test_a_reward_that_is_not_at_its_maximum_on_gold_may_say_so(broken) -> None:
    code = changed(COMPARED, 'return 0.9 * float(text == ctx.target["answer"])')
    assert broken(code.replace('formula="[a = b]"', 'formula="f", gold_is_max=False')) == {}


def test_wrong_answers_that_earn_as_much_as_gold_are_named(broken) -> None:
    assert broken(changed(COMPARED, "return 1.0")) == {
        "wrong_scores_less": [
            "reward 'toy/same' of task 'toy/name' gives 1 to wrong answers of sample 'train-0' as "
            "to the correct answer 'water'"
        ]
    }


def test_a_reward_that_raises_on_a_broken_completion_is_named(broken) -> None:
    found = broken(changed(COMPARED, f"completion.encode()\n    {COMPARED}"))
    assert list(found) == ["hostile_never_raises"]
    assert found["hostile_never_raises"][0].startswith(
        "reward 'toy/same' raised UnicodeEncodeError("
    )
    assert found["hostile_never_raises"][0].endswith(", completion '\\ud800'")


def test_a_reward_that_leaves_its_range_is_named(broken) -> None:
    found = broken(changed(COMPARED, "return float(len(completion) > 5000) * 2"))
    assert list(found) == ["hostile_never_raises"]
    assert "reward 'toy/same' returned 2.0, outside [0.0, 1.0]" in found["hostile_never_raises"][0]


def test_a_reward_that_runs_out_of_stack_is_named(broken) -> None:
    found = broken(
        changed(COMPARED, f"same(completion, ctx) if '[[' in completion else 0\n    {COMPARED}")
    )
    assert list(found) == ["hostile_never_raises"]
    assert "raised RecursionError(" in found["hostile_never_raises"][0]


def test_a_metric_that_raises_on_broken_completions_is_named(broken) -> None:
    found = broken(
        changed("    return {", "    [p.completion.encode() for p in predictions]\n    return {")
    )
    assert list(found) == ["hostile_never_raises"]
    assert found["hostile_never_raises"][0].startswith(
        "metric 'toy/right' of task 'toy/name' on broken completions raised UnicodeEncodeError: "
    )


def test_a_reward_that_remembers_is_named(broken) -> None:
    found = broken(
        changed(COMPARED, "CLASSES.append(0)\n    return float(len(CLASSES) % 2)").replace(
            '"vocabulary": CLASSES', '"vocabulary": CLASSES[:3]'
        )
    )
    assert list(found) == ["rewards_pure"]
    assert found["rewards_pure"][0].startswith("reward 'toy/same' gives ")


def test_a_reward_that_changes_its_context_is_named(broken) -> None:
    assert broken(changed(COMPARED, f"ctx.target['seen'] = True\n    {COMPARED}")) == {
        "rewards_pure": ["reward 'toy/same' changes the target of its context"]
    }


def test_a_reward_of_no_task_is_remarked(toy) -> None:
    kit = toy(changed('"robust": {"toy/same": 1.0}', '"robust": {"exact": 1.0}'))
    (pure,) = [rule for rule in RULES if rule.name == "rewards_pure"]
    assert kit.outcome(pure).line() == (
        "reward 'toy/same' is not tested: no task of this plugin uses it"
    )


def test_a_reward_that_cannot_be_sent_to_a_process_is_named(broken) -> None:
    found = broken(changed("score=same", "score=lambda completion, ctx: same(completion, ctx)"))
    assert list(found) == ["rewards_picklable"]
    assert found["rewards_picklable"][0].startswith("pickling reward 'toy/same' raised ")
