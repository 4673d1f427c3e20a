"""The whole way, in small: `geovlm run` as a user starts it, and again after kill -9."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from geovlm import nano
from tests import inside
from tests.engine.faults import in_grpo, kill_tree, wait_until

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
GEOVLM = [sys.executable, "-m", "geovlm.cli"]


def command(output: Path, *extra: str) -> list[str]:
    sets = [part for one in TINY for part in ("--set", one)]
    return ["run", "--tasks", TASKS, "--output", str(output), *sets, *extra]


def geovlm(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GEOVLM, *words], capture_output=True, text=True, timeout=500, check=False
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "whole"
    done = geovlm(*command(output))
    assert done.returncode == 0, done.stderr
    return output


def scores(output: Path) -> dict[str, Any]:
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
    assert "data:image/webp;base64" in page


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


def start(output: Path, *extra: str) -> subprocess.Popen[str]:
    quiet = subprocess.DEVNULL
    argv = [*GEOVLM, *command(output, *extra)]
    return subprocess.Popen(argv, stdout=quiet, stderr=quiet, text=True)


def kill_after_a_checkpoint(process: subprocess.Popen[str], stage: Path) -> None:
    wait_until(lambda: list(stage.glob("checkpoints/checkpoint-*/manifest.json")), process)
    kill_tree(process.pid)
    process.wait()


@pytest.mark.slow
def test_a_run_killed_in_sft_resumes_to_the_same_metrics(undisturbed: Path, tmp_path: Path) -> None:
    output = tmp_path / "killed"
    stage = output / "stages" / "0-sft"
    kill_after_a_checkpoint(start(output), stage)
    # the other stages would be the same once more
    resumed = inside.geovlm(*command(output, "--resume"), until="1")
    assert resumed.returncode == 0, resumed.stderr
    whole = scores(undisturbed)
    for name, task in scores(output).items():
        assert task["stages"] == {each: whole[name]["stages"][each] for each in ("base", "sft")}


@pytest.mark.slow
def test_a_run_killed_in_grpo_resumes_to_the_same_metrics(
    undisturbed: Path, tmp_path: Path
) -> None:
    output = in_grpo(undisturbed, tmp_path / "killed")
    kill_after_a_checkpoint(start(output, "--resume"), output / "stages" / "2-grpo")
    resumed = geovlm(*command(output, "--resume"))
    assert resumed.returncode == 0, resumed.stderr
    assert scores(output) == scores(undisturbed)


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
    done = inside.geovlm(*command(tmp_path / "out", *extra))
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert message in errors[0]
    assert not (tmp_path / "out").exists()


def test_an_unknown_task_is_answered_with_the_nearest_name(tmp_path: Path) -> None:
    done = geovlm("run", "--tasks", "xdb", "--output", str(tmp_path / "o"))
    assert done.returncode == 2
    assert "Did you mean 'xbd'?" in done.stderr
    assert "Traceback" not in done.stderr
