"""Scores of one task from answers alone: no model, no run folder."""

from __future__ import annotations

from dataclasses import replace

from geovlm.engine.evaluation import scores
from geovlm.engine.rewards import columns
from tests.engine.test_controls import FRAME, PAIRS, a_judge

NO = [FRAME.format("no")] * 4
RIGHT = [FRAME.format(row.answer) for row in PAIRS]


def answers(**changed: object) -> scores.Answers:
    return replace(scores.Answers(rows=PAIRS, greedy=RIGHT, sampled=NO), **changed)


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
    assert scored.controls == {}
    assert [record["sampled"]["completion"] for record in scored.records] == NO


def test_a_change_is_against_the_earlier_answers() -> None:
    scored = scores.score(answers(earlier=("base", NO)), a_judge(), name="sft", last=False)
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
