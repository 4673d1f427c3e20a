from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from geovlm.errors import ConfigError, DataError
from geovlm.run import files
from geovlm.run.folder import RunDir, default_output, latest_output


def begun(folder: Path) -> RunDir:
    run = RunDir(folder)
    files.write_json(run.resolved, {"stage_folders": ["0-sft", "1-grpo"]})
    return run


def test_stages_are_found_by_their_position(tmp_path):
    run = begun(tmp_path)
    assert run.stage(1) == tmp_path / "stages" / "1-grpo"
    assert run.stage(-1) == tmp_path / "stages" / "eval"


def test_a_stage_is_done_when_its_last_file_is_there(tmp_path):
    run = begun(tmp_path)
    assert not run.is_done(0)
    files.write_json(run.stage(0) / "done.json", {})
    assert run.is_done(0)


def test_a_folder_without_resolved_json_is_no_run(tmp_path):
    with pytest.raises(ConfigError, match="is not a run folder"):
        RunDir(tmp_path).read_resolved()


def test_scores_of_tasks_and_stages_add_up(tmp_path):
    run = RunDir(tmp_path)
    run.write_metrics("xbd/detect", "base", primary="f1", entry={"n": 1})
    run.write_metrics("xbd/detect", "sft", primary="f1", entry={"n": 2})
    assert run.has_metrics("xbd/detect", "sft")
    assert not run.has_metrics("xbd/detect", "grpo")
    assert not run.has_metrics("xbd/refer", "base")
    assert json.loads(run.metrics.read_text())["tasks"]["xbd/detect"] == {
        "primary": "f1",
        "stages": {"base": {"n": 1}, "sft": {"n": 2}},
    }


def test_seconds_of_an_interrupted_stage_sum_up(tmp_path):
    run = RunDir(tmp_path)
    run.add_seconds("sft", 1.5)
    run.add_seconds("sft", 2.0)
    assert run.read_metrics()["seconds"] == {"sft": 3.5}


def test_a_slash_in_a_task_name_is_two_underscores_in_its_file(tmp_path):
    run = RunDir(tmp_path)
    run.write_eval("xbd/detect", "sft", [{}, {}])
    assert (tmp_path / "eval" / "sft" / "xbd__detect.jsonl").read_text() == "{}\n{}\n"


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(DataError, match=r"metrics\.json cannot be read"):
        RunDir(tmp_path).read_metrics()


def test_the_default_output_takes_the_next_free_number(tmp_path):
    names = ["xbd", "rsvqa/lr"]
    assert default_output(names, parent=tmp_path) == tmp_path / "xbd_rsvqa-lr"
    assert latest_output(names, parent=tmp_path) is None
    (tmp_path / "xbd_rsvqa-lr").mkdir()
    (tmp_path / "xbd_rsvqa-lr-2").mkdir()
    assert default_output(names, parent=tmp_path) == tmp_path / "xbd_rsvqa-lr-3"
    assert latest_output(names, parent=tmp_path) == tmp_path / "xbd_rsvqa-lr-2"


def test_one_process_is_at_work_in_a_folder(tmp_path):
    with RunDir(tmp_path).locked():  # noqa: SIM117  # the first is to hold
        with pytest.raises(ConfigError, match=rf"process {os.getpid()} is at work in "):
            RunDir(tmp_path).locked().__enter__()
    with RunDir(tmp_path).locked():
        assert (tmp_path / ".lock").is_file()
