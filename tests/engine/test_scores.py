"""Scores of one task from answers alone: no model, no run folder."""

from __future__ import annotations

from dataclasses import replace

import pytest

from geovlm.api import MetricSpec
from geovlm.engine.evaluation import facts, scores
from geovlm.engine.rewards import columns
from tests.engine.test_controls import FRAME, PAIRS, a_judge

NO = [FRAME.format("no")] * 4
RIGHT = [FRAME.format(row.answer) for row in PAIRS]


def answers(**changed: object) -> scores.Answers:
    given = scores.Answers(
        rows=PAIRS, greedy=RIGHT, sampled=[[text] for text in NO], cut=[False] * 4
    )
    return replace(given, **changed)


def keyed(texts: list[str]) -> dict[str, str]:
    return {row.key: text for row, text in zip(PAIRS, texts, strict=True)}


def test_the_entry_scores_greedy_answers_and_rewards_sampled_ones() -> None:
    judge = a_judge()
    judge = replace(judge, columns=columns([judge.task], registry=judge.registry, active="robust"))
    scored = scores.score(answers(), judge, name="sft", last=False)
    assert scored.entry["metrics"]["accuracy"] == 1.0
    assert scored.entry["greedy_reward"] == 2.0  # two tags of 0.5 each, and exact
    assert scored.entry["sampled_reward"] == 1.5  # two of four answers are no
    assert scored.entry["sampled_rewards_n"]["exact"] == 4
    assert scored.controls == {"higher_is_better": True}
    assert [record["sampled"][0]["completion"] for record in scored.records] == NO
    assert [record["sampled"][0]["reward"] for record in scored.records] == [1.0, 2.0, 1.0, 2.0]
    assert [record["reward"] for record in scored.records] == [2.0] * 4


def test_several_sampled_answers_count_by_their_mean() -> None:
    judge = a_judge()
    judge = replace(judge, columns=columns([judge.task], registry=judge.registry, active="robust"))
    both = [[no, right] for no, right in zip(NO, RIGHT, strict=True)]
    scored = scores.score(answers(sampled=both), judge, name="sft", last=False)
    assert scored.entry["sampled_reward"] == 1.75  # 1.5 of no, 2.0 of the right answers
    assert scored.entry["sampled_rewards_n"]["exact"] == 8
    assert [each["reward"] for each in scored.records[0]["sampled"]] == [1.0, 2.0]


def test_the_change_of_the_sampled_reward_is_that_of_the_means_of_rows() -> None:
    judge = a_judge()
    judge = replace(judge, columns=columns([judge.task], registry=judge.registry, active="robust"))
    earlier = scores.Earlier(
        "sft", greedy=RIGHT, sampled=[[0.5, 0.5], [1.5, 2.5], [1.0, 1.0], [0.0]]
    )
    scored = scores.score(answers(earlier=earlier), judge, name="grpo", last=True)
    change = scored.entry["change"]["sampled_reward"]
    # 1, 2, 1, 2 after 0.5, 2, 1, 0
    assert change["difference"] == 0.625
    low, high = change["ci95"]
    assert low <= 0.625 <= high


def test_answers_without_a_block_and_cut_ones_are_counted() -> None:
    given = answers(greedy=[*RIGHT[:3], "<think> x"], cut=[False, False, False, True])
    entry = scores.score(given, a_judge(), name="sft", last=False).entry
    assert (entry["unreadable"], entry["cut"]) == (0.25, 0.25)


def test_objects_are_measured_at_the_size_of_the_model() -> None:
    # 100 x 50 pixels are seen as 84 x 56: widths shrink, heights grow
    small = replace(PAIRS[0], target={"boxes": [[0, 0, 4, 4], [0, 0, 10, 10], [5, 5, 45, 15]]})
    found = facts.objects([small, PAIRS[1]])
    assert found is not None
    assert (found["n"], found["small_px"]) == (3, 4)
    assert found["small_share"] == 1 / 3
    assert found["median_px"] == pytest.approx(8.4)
    assert facts.objects(PAIRS) is None


def test_a_metric_of_which_less_is_better_is_named_as_such() -> None:
    judge = a_judge()
    errors = MetricSpec(
        name="t/errors",
        summary="",
        compute=lambda predictions: {"errors": 0.25},
        higher_is_better=False,
    )
    known = replace(judge.registry, metrics={**judge.registry.metrics, "t/errors": errors})
    task = replace(judge.task, metrics=("accuracy", "t/errors"))
    for primary, higher in (("accuracy", True), ("errors", False)):
        own = replace(judge, registry=known, task=replace(task, primary_metric=primary))
        scored = scores.score(answers(), own, name="sft", last=False)
        assert scored.controls["higher_is_better"] is higher


def test_a_change_is_against_the_earlier_answers() -> None:
    scored = scores.score(
        answers(earlier=scores.Earlier("base", greedy=NO, sampled=[[1.0]] * 4)),
        a_judge(),
        name="sft",
        last=False,
    )
    assert scored.entry["change"]["against"] == "base"
    assert scored.entry["change"]["metrics"]["accuracy"]["difference"] == 0.5


def test_baselines_and_probes_are_scored_on_the_control_rows() -> None:
    controls = {name: keyed(NO) for name in ("text_only", "swapped", "same", "shifted")}
    given = answers(control_rows=PAIRS[:2], controls={**controls, "shuffled": {}})
    majority = scores.Majority(answers={"": "no"})
    found = scores.score(replace(given, majority=majority), a_judge(), name="sft", last=True)
    text_only = found.controls["blind"]["text_only"]
    assert (text_only["n"], text_only["metrics"]["accuracy"]) == (2, 0.5)
    assert found.controls["blind"]["shuffled"] == {"stage": "sft", "unavailable": scores.ONE_SCENE}
    assert found.controls["blind"]["majority"]["answers"] == {"": "no"}
    assert found.controls["blind"]["majority"]["gain"]["accuracy"]["difference"] == 0.5
    assert found.controls["probes"]["n"] == 2
    assert found.controls["probes"]["order_sensitivity"] == 0.5
