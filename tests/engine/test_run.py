"""The whole way, in small: `geovlm run` as a user starts it, and again after kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from geovlm import nano
from tests.engine.faults import in_grpo

TINY = [
    "stages.0.steps=4",
    "stages.0.trainer.per_device_train_batch_size=8",
    "stages.0.trainer.save_steps=2",
    "stages.1.prompts=8",
    "stages.1.limit=2",
    "stages.1.on_fail=warn",
    "stages.1.keep_flat=1.0",
    "stages.2.steps=2",
    "stages.2.batch_size=8",
    "stages.2.trainer.per_device_train_batch_size=16",
    "stages.2.trainer.save_steps=1",
    "stages.2.trainer.max_completion_length=24",
    "stages.2.freeze_vision=true",
    "eval.limit=4",
    "eval.resamples=10",
    "sample.records=8",
]
TASKS = "xbd/affected,rsvqa/lr"


def command(output: Path, *extra: str) -> list[str]:
    sets = [part for one in TINY for part in ("--set", one)]
    return [
        *(sys.executable, "-m", "geovlm.cli", "run", "--tasks", TASKS),
        *("--output", str(output), *sets, *extra),
    ]


def run(output: Path, *extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(output, *extra), capture_output=True, text=True, timeout=500, check=False
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "whole"
    done = run(output)
    assert done.returncode == 0, done.stderr
    return output


def scores(output: Path) -> dict[str, object]:
    return json.loads((output / "metrics.json").read_text())["tasks"]


@pytest.mark.slow
def test_a_run_leaves_everything_that_it_promises(undisturbed: Path) -> None:
    tasks = scores(undisturbed)
    assert list(tasks) == ["xbd/affected", "rsvqa/lr"]
    for task in tasks.values():
        assert set(task["stages"]) == {"base", "sft", "grpo"}
        assert task["stages"]["sft"]["n"] == 4
        assert 0.0 <= task["stages"]["grpo"]["sampled_reward"] <= 2.0
    for folder in ("0-sft", "1-probe", "2-grpo"):
        assert (undisturbed / "stages" / folder / "done.json").is_file()
    probed = json.loads((undisturbed / "stages" / "1-probe" / "probe.json").read_text())["tasks"]
    assert [probed[name]["prompts"] for name in tasks] == [2, 2]
    page = (undisturbed / "report.html").read_text()
    assert "xbd/affected" in page
    assert "data:image/png;base64" in page


@pytest.mark.slow
def test_one_and_two_image_samples_mix_and_are_scored_by_their_own(undisturbed: Path) -> None:
    lines = (undisturbed / "stages" / "2-grpo" / "completions.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    by_task = {r["task"]: set(r["rewards"]) for r in records}
    assert by_task.get("xbd/affected", {"recall", "exact", "format/think", "format/answer"}) == {
        "recall",
        "exact",
        "format/think",
        "format/answer",
    }
    assert by_task.get("rsvqa/lr", {"jaccard", "exact", "format/think", "format/answer"}) == {
        "jaccard",
        "exact",
        "format/think",
        "format/answer",
    }
    assert len(records) == 2 * 16


@pytest.mark.slow
def test_a_frozen_vision_tower_keeps_its_weights(undisturbed: Path) -> None:
    def changed(before: Path, after: Path) -> set[str]:
        old, new = (load_file(folder / "model.safetensors") for folder in (before, after))
        return {name for name in old if not np.array_equal(old[name], new[name])}

    sft, grpo = (undisturbed / "stages" / stage / "model" for stage in ("0-sft", "2-grpo"))
    assert {name.startswith("visual.") for name in changed(nano.path(), sft)} == {True, False}
    assert {name.startswith("visual.") for name in changed(sft, grpo)} == {False}


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["0-sft", "2-grpo"])
def test_a_killed_run_resumes_to_the_same_metrics(
    undisturbed: Path, tmp_path: Path, stage: str
) -> None:
    output = tmp_path / "killed"
    again = []
    if stage == "2-grpo":  # the stages before it would be the same once more
        in_grpo(undisturbed, output)
        again = ["--resume"]
    process = subprocess.Popen(
        command(output, *again), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    checkpoints = output / "stages" / stage / "checkpoints"
    deadline = time.monotonic() + 400
    while not list(checkpoints.glob("checkpoint-*/manifest.json")):
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for pid in _tree(process.pid):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    resumed = run(output, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert scores(output) == scores(undisturbed)


def _tree(pid: int) -> list[int]:
    """Return a process and all its descendants, parents first."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in _tree(int(child)))]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--set", "stages.0.stepz=3"], "stepz"),
        (["--set", "eval.limit=many"], "eval.limit"),
        (["--data", "/no/such/folder"], "/no/such/folder"),
        (["--resume"], "resume"),
    ],
)
def test_impossible_requests_end_in_one_line_before_any_work(
    tmp_path: Path, extra: list[str], message: str
) -> None:
    done = run(tmp_path / "out", *extra)
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in done.stderr


def test_an_unknown_task_is_answered_with_the_nearest_name(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "geovlm.cli",
            "run",
            "--tasks",
            "xdb",
            "--output",
            str(tmp_path / "o"),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 2
    assert "Did you mean 'xbd'?" in done.stderr
