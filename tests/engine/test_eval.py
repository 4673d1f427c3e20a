"""`geovlm eval` as a user starts it, killed in the middle and resumed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engine.faults import kill_tree, wait_until

SETTINGS = ["eval.resamples=20", "eval.batch_size=2", "sample.records=8", "max_new_tokens=16"]


def command(output: Path, *extra: str) -> list[str]:
    sets = [part for one in SETTINGS for part in ("--set", one)]
    chosen = ["--model", "nano", "--tasks", "xbd/affected", "--limit", "6", "--probes"]
    return [
        *(sys.executable, "-m", "geovlm.cli", "eval", *chosen),
        *("--output", str(output), *sets, *extra),
    ]


def evaluate(output: Path, *extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(output, *extra), capture_output=True, text=True, timeout=500, check=False
    )


def scores(output: Path) -> dict[str, Any]:
    return json.loads((output / "metrics.json").read_text())["tasks"]


@pytest.mark.slow
def test_a_killed_evaluation_resumes_to_the_same_scores(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    done = evaluate(whole, "--against", "paper", "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["tasks"] == scores(whole)
    assert {row["model"] for row in printed["against"]} >= {"GeoVLM-R1", "EarthDial"}
    task = scores(whole)["xbd/affected"]
    assert set(task["blind"]) == {"majority", "text_only", "shuffled"}
    assert set(task["probes"]["metrics"]) == {"real", "swapped", "same", "shifted"}
    assert len(task["stages"]["base"]["prompt_sha256"]) == 64

    killed = tmp_path / "killed"
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command(killed), stdout=quiet, stderr=quiet, text=True)
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


def test_there_is_nothing_to_resume_in_an_empty_folder(tmp_path: Path) -> None:
    done = evaluate(tmp_path / "none", "--resume")
    assert done.returncode == 2
    assert "nothing to resume" in done.stderr
