from __future__ import annotations

import copy
import shlex
from pathlib import Path
from typing import Any

import pytest

from geovlm.config import load
from geovlm.errors import ConfigError, DataError
from geovlm.run import files, resuming
from geovlm.run.folder import RunDir


def resolved(*, processes: int = 1, samples: int = 8, **config: Any) -> dict[str, Any]:
    return {
        "config": {"seed": 1, "stages": [{"kind": "sft"}], **config},
        "stage_folders": ["0-sft"],
        "world_sizes": {"0": processes},
        "samples": {"xbd": {"train": samples}},
        "data_roots": {"xbd": "/data/xbd"},
        "generated": ["xbd"],
    }


def described() -> dict[str, Any]:
    """Return the parts of `environment.json` that a resumed run compares."""
    return {
        "geovlm": "0.1.0",
        "python": "3.11",
        "packages": {"trl": "1.16"},
        "plugins": [{"name": "xbd", "version": "1.0"}],
        "model": {"name": "/m", "files": {"config.json": "aa", "model.safetensors": "bb"}},
        "data": {
            "xbd": {
                "root": "/data/xbd",
                "version": 1,
                "splits": {
                    "train": {
                        "records": 2,
                        "sha256": "cc",
                        "checked": {
                            "a": {"record": "11", "images": {"train/a.png": "12"}},
                            "b": {"record": "21", "images": {"train/b.png": "22"}},
                        },
                    }
                },
            }
        },
        "tasks": {"xbd/count": {"version": 1, "prompt_sha256": "dd"}},
        "left_out": {},
    }


def begun(run: RunDir) -> None:
    """Write what a run of one process has after its first checkpoint."""
    files.write_json(run.resolved, resuming.take_over(run, resolved()))
    files.write_json(run.environment, described())
    files.write_text(run.path / "stages" / "0-sft" / "log.jsonl", "")


def refused(run: RunDir, **changed: Any) -> str:
    """Return the refusal of a run whose surroundings differ in the given parts."""
    with pytest.raises((ConfigError, DataError)) as caught:
        resuming.refuse_other_contents(run, {**described(), **changed})
    return str(caught.value)


def test_a_resumed_run_remembers_the_processes_of_its_start(tmp_path):
    run = RunDir(tmp_path)
    begun(run)
    files.write_json(run.resolved, resuming.take_over(run, resolved(processes=4)))
    again = resuming.take_over(run, resolved(processes=2))
    assert (again["world_sizes"], again["started_with"]) == ({"0": 2}, {"0": 1})


def test_a_stage_added_at_the_end_starts_with_its_own_processes(tmp_path):
    run = RunDir(tmp_path)
    begun(run)
    longer = resolved() | {"world_sizes": {"0": 1, "1": 2}}
    assert resuming.take_over(run, longer)["started_with"] == {"0": 1, "1": 2}


def test_a_run_without_progress_may_start_otherwise(tmp_path):
    run = RunDir(tmp_path)
    files.write_json(run.resolved, resuming.take_over(run, resolved()))
    other = resuming.take_over(run, resolved(processes=2, samples=9))
    assert other["started_with"] == {"0": 2}


def test_data_that_have_changed_since_are_refused(tmp_path):
    run = RunDir(tmp_path)
    begun(run)
    with pytest.raises(DataError) as caught:
        resuming.take_over(run, resolved(samples=7))
    assert str(caught.value) == (
        "task 'xbd' has 7 samples in split 'train', the run was started with 8 (restore the files "
        "under /data/xbd, or start another run)"
    )


def test_the_history_of_changes_is_kept_from_resume_to_resume(tmp_path):
    run = RunDir(tmp_path)
    begun(run)
    files.write_json(run.resolved, resuming.take_over(run, resolved(timeout_s=5)))
    newer = described() | {"packages": {"trl": "1.17"}}
    versions = resuming.other_versions(run, newer)
    last = resuming.take_over(run, resolved(timeout_s=6), versions=versions)["changes"]
    assert [(each["key"], each["from"], each["to"]) for each in last] == [
        ("timeout_s", None, 5),
        ("timeout_s", 5, 6),
        ("packages.trl", "1.16", "1.17"),
    ]
    assert {each["stage"] for each in last} == {"0-sft"}


def test_a_setting_that_the_older_version_did_not_know_had_its_default(tmp_path):
    run = RunDir(tmp_path)
    now = load.load(None, overrides=["stages=[{kind='sft',steps=2}]"]).model_dump(mode="json")
    older = copy.deepcopy(now)
    del older["stages"][0]["weights"], older["answering"]
    begun(run)
    files.write_json(run.resolved, {**resolved(), "config": older, "started_with": {}})
    files.write_json(run.stage(0) / "done.json", {})
    resuming.refuse_another(run, now)
    assert resuming.take_over(run, resolved() | {"config": now})["changes"] == []
    now["stages"][0]["weights"] = {"xbd": 2.0}
    with pytest.raises(ConfigError, match="weights is None and cannot become"):
        resuming.refuse_another(run, now)


def test_generated_data_stay_generated_wherever_they_lie(tmp_path):
    run = RunDir(tmp_path)
    begun(run)
    assert resuming.take_over(run, resolved() | {"generated": []})["generated"] == ["xbd"]


def test_the_same_data_and_model_may_lie_elsewhere(tmp_path):
    run = RunDir(tmp_path)
    begun(run)
    moved = described()
    moved["data"]["xbd"]["root"] = "/scratch/xbd"
    moved["model"]["name"] = "/elsewhere/m"
    resuming.refuse_other_contents(run, moved)


def test_another_image_is_named(tmp_path):
    run = RunDir(tmp_path)
    begun(run)
    data = copy.deepcopy(described()["data"])
    data["xbd"]["root"] = "/scratch/xbd"
    data["xbd"]["splits"]["train"]["checked"]["b"]["images"]["train/b.png"] = "99"
    assert refused(run, data=data) == (
        "data set 'xbd' in /scratch/xbd does not hold the data of /data/xbd that the run was "
        "started with: split 'train' differs in train/b.png (restore them, give their folder with "
        "--data xbd=DIR, or start another run with --output)"
    )


def test_another_label_is_named_by_its_record(tmp_path):
    run = RunDir(tmp_path)
    begun(run)
    data = copy.deepcopy(described()["data"])
    data["xbd"]["splits"]["train"] |= {"sha256": "zz"}
    data["xbd"]["splits"]["train"]["checked"]["a"]["record"] = "99"
    assert "split 'train' differs in record 'a'" in refused(run, data=data)


def test_a_difference_beyond_the_checked_records_is_seen(tmp_path):
    run = RunDir(tmp_path)
    begun(run)
    data = copy.deepcopy(described()["data"])
    data["xbd"]["splits"]["train"]["sha256"] = "zz"
    assert "differs in a question, a target or the name of an image" in refused(run, data=data)


def test_other_weights_under_the_same_name_are_refused(tmp_path):
    run = RunDir(tmp_path)
    begun(run)
    model = {"name": "/m", "files": {"config.json": "aa", "model.safetensors": "ff"}}
    assert "with which the run was started: model.safetensors differ" in refused(run, model=model)


def test_a_task_of_another_version_is_refused(tmp_path):
    run = RunDir(tmp_path)
    begun(run)
    tasks = {"xbd/count": {"version": 2, "prompt_sha256": "dd"}}
    assert "task 'xbd/count' has another version than at the run's start: 1, then 2" in refused(
        run, tasks=tasks
    )


def test_a_task_without_data_is_not_left_out_of_a_resumed_run(tmp_path):
    run = RunDir(tmp_path)
    begun(run)
    message = refused(run, tasks={}, left_out={"xbd/count": "/data/xbd does not exist"})
    assert "task 'xbd/count', which is missing: /data/xbd does not exist" in message


def test_a_newer_plugin_with_the_same_tasks_is_told_and_not_refused(tmp_path):
    run = RunDir(tmp_path)
    begun(run)
    now = described() | {"plugins": [{"name": "xbd", "version": "1.1"}]}
    resuming.refuse_other_contents(run, now)
    (change,) = resuming.other_versions(run, now)
    assert (change.path, change.before, change.after) == ("plugins.xbd", "1.0", "1.1")


def test_the_line_that_resumes_a_run_is_one_of_the_shell():
    line = resuming.line(Path("/runs/my run"), "--data", "xbd=/a b")
    assert shlex.split(line) == [
        *("geovlm", "run", "--resume", "--output", "/runs/my run", "--data", "xbd=/a b")
    ]
