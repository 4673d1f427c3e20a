"""Choice of the stage to export, refusals before any work, comparison of answers."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from geovlm import nano
from geovlm.config.schema import RunConfig
from geovlm.errors import ConfigError, RunFailedError
from geovlm.run import export, files
from geovlm.run.folder import RunDir

KINDS = ("sft", "probe", "grpo")


def a_config(*kinds: str) -> RunConfig:
    stages = [{"kind": kind} | ({} if kind == "probe" else {"steps": 1}) for kind in kinds]
    return RunConfig.model_validate({"tasks": ["xbd/affected"], "stages": stages})


def a_run(folder: Path, *kinds: str, done: int) -> tuple[RunDir, RunConfig]:
    """A run of these stages of which so many are finished."""
    config, run = a_config(*kinds), RunDir(folder)
    files.write_json(run.resolved, {"stage_folders": config.stage_folders()})
    for index in range(done):
        if kinds[index] != "probe":
            files.write_json(run.stage(index) / "model" / "config.json", {})
        files.write_json(run.stage(index) / "done.json", {})
    return run, config


def a_sample(sample_id: str = "1", task: str = "xbd/affected") -> export.Asked:
    return export.Asked(
        task=task,
        sample_id=sample_id,
        images=("a.png", {"bands": ["B04"]}),
        input_sizes=((84, 84), (84, 56)),
        picture_sizes=((84, 84), (84, 56)),
        question="Is it?",
        answered="<answer> yes </answer>",
    )


def a_job(*asked: export.Asked) -> export.Job:
    return export.Job(
        model=nano.path(), dtype=None, trust_remote_code=False, max_new_tokens=96, asked=asked
    )


def test_the_last_stage_that_trains_is_exported(tmp_path: Path) -> None:
    run, config = a_run(tmp_path, *KINDS, done=3)
    chosen = export.choose(run, config, name=None)
    assert (chosen.index, chosen.name) == (2, "grpo")
    assert chosen.model == tmp_path / "stages" / "2-grpo" / "model"


def test_an_earlier_stage_is_exported_by_its_name(tmp_path: Path) -> None:
    run, config = a_run(tmp_path, "sft", "sft", "grpo", done=2)
    assert export.choose(run, config, name="sft").index == 0
    assert export.choose(run, config, name="sft-2").index == 1


def test_an_unfinished_run_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    run, config = a_run(tmp_path, *KINDS, done=2)
    with pytest.raises(ConfigError, match=r"stage 2-grpo has no done\.json") as refused:
        export.choose(run, config, name=None)
    assert f"geovlm run --resume --output {tmp_path}" in refused.value.hint
    assert "--stage sft exports a finished stage" in refused.value.hint


def test_where_nothing_is_finished_no_stage_is_offered(tmp_path: Path) -> None:
    run, config = a_run(tmp_path, *KINDS, done=0)
    with pytest.raises(ConfigError, match=r"0-sft has no done\.json") as refused:
        export.choose(run, config, name="sft")
    assert "--stage" not in refused.value.hint


def test_an_unknown_stage_is_answered_with_those_that_train(tmp_path: Path) -> None:
    run, config = a_run(tmp_path, *KINDS, done=3)
    with pytest.raises(ConfigError, match=r"no stage 'probe' \(--stage takes sft or grpo\)"):
        export.choose(run, config, name="probe")


def test_an_evaluation_has_nothing_to_export(tmp_path: Path) -> None:
    run, config = a_run(tmp_path, done=0)
    with pytest.raises(ConfigError, match="trained nothing"):
        export.choose(run, config, name=None)


def test_a_deleted_model_is_missed(tmp_path: Path) -> None:
    run, config = a_run(tmp_path, "sft", done=1)
    shutil.rmtree(tmp_path / "stages" / "0-sft" / "model")
    with pytest.raises(ConfigError, match="0-sft/model is missing"):
        export.choose(run, config, name=None)


def test_samples_are_taken_from_each_task_in_turn(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    for task in ("t/a", "t/b"):
        records = [
            {
                "task": task,
                "sample_id": str(i),
                "images": ["x.png"],
                "input_sizes": [[84, 84]],
                "question": "?",
                "completion": "",
            }
            for i in range(3)
        ]
        run.write_eval(task, "sft", records)
    found = export.asked(run, "sft", task_names=["t/a", "t/b"], most=3)
    assert [(each.task, each.sample_id) for each in found] == [
        ("t/a", "0"),
        ("t/b", "0"),
        ("t/a", "1"),
    ]
    assert len(export.asked(run, "sft", task_names=["t/a", "t/b"], most=1)) == 2
    with pytest.raises(ConfigError, match=r"t__a.jsonl is missing"):
        export.asked(run, "grpo", task_names=["t/a"], most=1)


def test_a_job_survives_its_file(tmp_path: Path) -> None:
    job = a_job(a_sample())
    job.write(tmp_path)
    assert export.Job.read(tmp_path) == job


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    export.check_target(tmp_path / "new")
    export.check_target(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="not an empty folder"):
        export.check_target(tmp_path)
    with pytest.raises(ConfigError, match="not an empty folder"):
        export.check_target(tmp_path / "file")


def test_half_the_bytes_need_half_the_room() -> None:
    weights = nano.path()  # its config.json says float32
    assert export.weight_bytes(weights, parameters=1000, dtype=None) == 4000
    assert export.weight_bytes(weights, parameters=1000, dtype="bfloat16") == 2000


def test_a_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = SimpleNamespace(free=1_000_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    export.check_space(tmp_path / "a" / "b", needed=900_000_000)
    with pytest.raises(ConfigError, match=r"1.00 GB free, the export takes 1.02 GB"):
        export.check_space(tmp_path / "a" / "b", needed=950_000_000)


def test_one_answer_that_differs_refuses_the_export() -> None:
    job = a_job(a_sample("1"), a_sample("2"))
    own = {"prompts": [[1], [2]], "answers": ["yes", "no"]}
    export.compare(job, own, own)
    with pytest.raises(RunFailedError, match=r"1 of 2 answers differ.*'2': 'no' became 'road'"):
        export.compare(job, own, own | {"answers": ["yes", "road"]})


def test_equal_answers_to_other_prompts_refuse_the_export() -> None:
    job = a_job(a_sample("1"))
    own = {"prompts": [[1, 2]], "answers": ["yes"]}
    with pytest.raises(RunFailedError, match="1 of 1 prompts differ"):
        export.compare(job, own, own | {"prompts": [[1, 3]]})


def test_control_tokens_in_answers_are_compared_as_the_model_was_asked_for_them() -> None:
    job = a_job(a_sample("1"))
    own = {"prompts": [[1]], "answers": ["<answer> <|im_end|> </answer>"]}
    export.compare(job, own, own | {"answers": ["<answer> < |im_end|> </answer>"]})
