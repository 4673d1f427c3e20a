from __future__ import annotations

from typing import Any

import pytest

from geovlm.errors import DataError
from geovlm.run import files, resuming
from geovlm.run.folder import RunDir


def resolved(*, processes: int = 1, samples: int = 8) -> dict[str, Any]:
    return {
        "world_sizes": {"0": processes},
        "samples": {"xbd": {"train": samples}},
        "data_roots": {"xbd": "/data/xbd"},
    }


def begun(run: RunDir) -> None:
    """Write what a run of one process has after its first checkpoint."""
    files.write_json(run.resolved, resuming.take_over(run, resolved()))
    files.write_text(run.path / "stages" / "0-sft" / "log.jsonl", "")


def test_a_resumed_run_remembers_the_processes_of_its_start(tmp_path):
    run = RunDir(tmp_path)
    begun(run)
    files.write_json(run.resolved, resuming.take_over(run, resolved(processes=4)))
    again = resuming.take_over(run, resolved(processes=2))
    assert (again["world_sizes"], again["started_with"]) == ({"0": 2}, {"0": 1})


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


def test_differences_are_paths_and_leave_out_what_may_change():
    before = {"seed": 1, "gpus": 2, "stages": [{"steps": 1}], "tasks": {"a": {}}}
    after = {"seed": 1, "gpus": 4, "stages": [{"steps": 2}], "tasks": {"b": {}}}
    assert resuming.differences(before, after) == ["stages.0.steps", "tasks.a", "tasks.b"]
