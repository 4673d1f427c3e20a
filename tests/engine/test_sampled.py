"""The change of the sampled reward between two stages, per task and pooled."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from geovlm.engine.evaluation import sampled
from geovlm.engine.evaluation.sampled import Part
from geovlm.engine.rows.rows import Row
from geovlm.engine.training import groups
from geovlm.files.jsontext import lines
from geovlm.run.files import write_text
from geovlm.run.folder import RunDir
from tests.engine.test_controls import PAIRS

CHANCE = {"resamples": 200, "seed": 0}


def rows(n: int) -> list[Row]:
    return [replace(PAIRS[0], sample_id=str(i), images=(f'"{i}"',)) for i in range(n)]


def test_a_rise_of_every_row_is_certain() -> None:
    part = Part(rows(20), before=[[1.0]] * 20, after=[[1.5, 1.0]] * 20)
    found = sampled.change({"t/a": part}, **CHANCE)
    assert found is not None
    assert found["difference"] == 0.25
    assert found["ci95"] == [0.25, 0.25]
    assert found["p"] == pytest.approx(1 / 201)  # none of 200 permutations is as large


def test_tasks_count_alike_whatever_their_number_of_rows() -> None:
    few = Part(rows(4), before=[[0.0]] * 4, after=[[1.0]] * 4)
    many = Part(rows(12), before=[[1.0]] * 12, after=[[1.0]] * 12)
    found = sampled.change({"t/a": few, "t/b": many}, **CHANCE)
    assert found is not None
    assert found["difference"] == 0.5


def test_rows_of_one_image_are_one_group_and_tell_nothing() -> None:
    alike = [replace(row, images=PAIRS[0].images) for row in rows(4)]
    assert sampled.change({"t/a": Part(alike, [[0.0]] * 4, [[1.0]] * 4)}, **CHANCE) is None


def test_the_interval_of_equal_rewards_has_no_width() -> None:
    assert sampled.interval(rows(8), [[1.5]] * 8, **CHANCE) == [1.5, 1.5]


def an_evaluation(run: RunDir, task: str, stage: str, totals: list[list[float]]) -> None:
    records = [
        {
            "sample_id": str(i),
            "images": [str(i)],
            "question": "",
            "image_sizes": [[10, 10]],
            "input_sizes": [[10, 10]],
            "meta": {},
            "sampled": [{"reward": each} for each in many],
        }
        for i, many in enumerate(totals)
    ]
    run.write_eval(task, stage, records)
    entry = {} if stage == "sft" else {"change": {"against": "sft"}}
    run.write_metrics(task, stage, primary="f1", entry=entry)


def test_the_pooled_change_is_read_from_the_answers_of_two_stages(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    an_evaluation(run, "t/a", "sft", [[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]])
    an_evaluation(run, "t/b", "sft", [[2.0], [2.0], [2.0]])
    assert sampled.pooled(run, name="sft", **CHANCE) is None
    an_evaluation(run, "t/a", "grpo", [[1.0, 1.0]] * 3)
    an_evaluation(run, "t/b", "grpo", [[2.0], [2.0], [2.0]])
    found = sampled.pooled(run, name="grpo", **CHANCE)
    assert found is not None
    assert (found["against"], found["tasks"]) == ("sft", 2)
    assert found["difference"] == 0.25  # a rises by 0.5, b by nothing


def a_group(step: int, task: str, *rewards: float) -> list[dict[str, object]]:
    record = {"step": step, "task": task, "sample_id": "1"}
    return [{**record, "reward": reward} for reward in rewards]


def test_groups_of_equal_rewards_are_counted_per_task(tmp_path: Path) -> None:
    made = [
        *a_group(0, "t/a", 1.0, 1.0),
        *a_group(0, "t/b", 1.0, 0.0),
        *a_group(1, "t/a", 2.0, 1.0),
        *a_group(1, "t/b", 1.0, 0.5),
    ]
    log = [{"step": s, "reward": 1.0, "frac_reward_zero_std": 1 / s} for s in (1, 2)]
    write_text(tmp_path / "completions.jsonl", lines(made))
    write_text(tmp_path / "log.jsonl", "".join(f"{json.dumps(each)}\n" for each in log))
    assert groups.measure(tmp_path) == {
        "steps": 2,
        "constant_share": 0.75,
        "constant": {"t/a": 0.5, "t/b": 0.0},
    }


def test_without_logged_completions_the_log_alone_speaks(tmp_path: Path) -> None:
    write_text(tmp_path / "log.jsonl", lines([{"step": 1, "reward": 1.0}]))
    assert groups.measure(tmp_path) == {"steps": 1, "constant_share": None, "constant": {}}
