"""`geovlm eval` as a user starts it, killed in the middle and resumed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from geovlm.run.launch import free_port
from tests import inside
from tests.engine.faults import kill_tree, wait_until
from tests.engine.test_machines import said, start

GEOVLM = [sys.executable, "-m", "geovlm.cli"]
SETTINGS = ["eval.resamples=20", "eval.batch_size=2", "sample.records=8", "max_new_tokens=16"]


def command(output: Path, *extra: str) -> list[str]:
    sets = [part for one in SETTINGS for part in ("--set", one)]
    chosen = ["--model", "nano", "--tasks", "xbd/affected", "--limit", "6", "--probes"]
    return ["eval", *chosen, "--output", str(output), *sets, *extra]


def evaluate(output: Path, *extra: str) -> subprocess.CompletedProcess[str]:
    return inside.geovlm(*command(output, *extra))


def scores(output: Path) -> dict[str, Any]:
    return json.loads((output / "metrics.json").read_text())["tasks"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed evaluation on one machine."""
    output = tmp_path_factory.mktemp("evaluated") / "whole"
    done = evaluate(output, "--against", "paper", "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["tasks"] == scores(output)
    assert {row["model"] for row in printed["against"]} >= {"GeoVLM-R1", "EarthDial"}
    return output


@pytest.mark.slow
def test_an_evaluation_has_everything_that_it_promises(whole: Path) -> None:
    task = scores(whole)["xbd/affected"]
    assert set(task["blind"]) == {"majority", "text_only", "shuffled"}
    assert set(task["probes"]["metrics"]) == {"real", "swapped", "same", "shifted"}
    assert len(task["stages"]["base"]["prompt_sha256"]) == 64


@pytest.mark.slow
def test_a_killed_evaluation_resumes_to_the_same_scores(whole: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([*GEOVLM, *command(killed)], stdout=quiet, stderr=quiet, text=True)
    answers = killed / "eval" / "base" / "answers" / "model.0.jsonl"
    wait_until(answers.is_file, process)
    kill_tree(process.pid)
    process.wait()
    assert not (killed / "metrics.json").exists()
    refused = evaluate(killed)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    resumed = evaluate(killed, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert scores(killed) == scores(whole)
    assert not answers.parent.exists()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_two_machines_evaluate_as_one_does(whole: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    where = ("--set", "device=cpu", "--machines", "2", "--main-address", f"127.0.0.1:{free_port()}")
    both = [
        start([*GEOVLM, *command(output, *where, "--machine-rank", str(rank))], tmp_path, rank)
        for rank in (0, 1)
    ]
    assert [each.wait(timeout=500) for each in both] == [0, 0], said(tmp_path)
    resolved = json.loads((output / "resolved.json").read_text())
    assert resolved["world_sizes"] == {"eval": 2}
    assert scores(output) == scores(whole)


def test_there_is_nothing_to_resume_in_an_empty_folder(tmp_path: Path) -> None:
    done = evaluate(tmp_path / "none", "--resume")
    assert done.returncode == 2
    assert "nothing to resume" in done.stderr
