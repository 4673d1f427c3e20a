"""`geovlm eval` as a user starts it, killed in the middle and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

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


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants, parents first."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in tree(int(child)))]


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
    process = subprocess.Popen(
        command(killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    answers = killed / "eval" / "base" / "answers" / "model.0.jsonl"
    deadline = time.monotonic() + 300
    while not answers.is_file():
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for pid in tree(process.pid):
        os.kill(pid, signal.SIGKILL)
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
