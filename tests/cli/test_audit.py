from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fake_plugins import TOY, install
from tests.inside import geovlm

FEW = ("--set", "sample.records=16")


def test_audit_prints_gold_policies_gap_floor_and_verdict(tmp_path: Path) -> None:
    done = geovlm("audit", "xbd/affected", *FEW, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    title, header, *rows = done.stdout.splitlines()
    assert title.startswith("xbd/affected version 1: 16 samples of test, learned from train")
    assert title.endswith("data: generated, seed 0")
    assert header == "policy\tpaper/recall\trobust/exact"
    assert "every label\t1.000\t0.000" in rows
    assert rows[-1] == "verdict\tcan be gamed\tpasses"
    assert [row.partition("\t")[0] for row in rows[-5:-1]] == [
        "correct answer, padded",
        "hack gap",
        "best policy",
        "floor",
    ]


def test_audit_as_json_names_version_split_and_number(tmp_path: Path) -> None:
    flags = [*FEW, "--rewards", "robust", "--limit", "10", "--json"]
    (found,) = json.loads(geovlm("audit", "xbd/count", *flags, folder=tmp_path).stdout)
    assert (found["task"], found["version"], found["split"]) == ("xbd/count", 1, "test")
    assert (found["n"], found["learned_from"]) == (10, "train")
    exact = found["rewards"]["robust"]["exact"]
    assert set(found["rewards"]) == {"robust"}
    assert exact["gold"] == 1.0
    assert exact["gap"] == exact["policies"][exact["best"]] <= exact["floor"]


def test_a_gap_above_the_largest_allowed_ends_with_one(tmp_path: Path) -> None:
    done = geovlm("audit", "xbd/count", "--max-gap", "0.9", *FEW, folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "above --max-gap 0.9: xbd/count paper/recall: prompt copy earns 1.000 of the correct "
        "answer's reward"
    )


def test_the_gaps_of_the_set_not_asked_for_do_not_count(tmp_path: Path) -> None:
    flags = [*FEW, "--max-gap", "0.9", "--rewards", "robust"]
    assert geovlm("audit", "xbd/count", *flags, folder=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--rewards", "robus"], "error: --rewards 'robus' is not a set of rewards"),
        (["--split", "tset"], "error: --split 'tset' is not a split"),
        (["--learn", "tset"], "error: --learn 'tset' is not a split"),
        (["--data", "xdb=nowhere"], "error: data.xdb: no data set of this name"),
        (["--set", "reward_options.hbb=x"], "error: reward_options.hbb is 'x'"),
    ],
)
def test_a_wrong_option_is_named(tmp_path: Path, flags: list[str], message: str) -> None:
    done = geovlm("audit", "xbd/count", *flags, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(message)


def test_a_wrong_task_is_answered_with_the_nearest(tmp_path: Path) -> None:
    done = geovlm("audit", "xdb", folder=tmp_path)
    assert done.returncode == 2
    assert "did you mean 'xbd" in done.stderr.lower()


@pytest.mark.parametrize(
    ("written", "instead", "problem"),
    [
        ('reasoning="It is blue."', 'reasoning=""', "wrote no reasoning for sample 'test-0'"),
        ('answer="water"', 'answer=" "', "wrote no answer for sample 'test-0'"),
    ],
)
def test_a_turn_that_is_no_completion_names_task_and_sample(
    tmp_path: Path, written: str, instead: str, problem: str
) -> None:
    install(tmp_path, "toy", TOY.replace(written, instead))
    done = geovlm("audit", "toy/name", *FEW, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: task 'toy/name'")
    assert problem in done.stderr.splitlines()[-1]
