from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from geovlm import cli, nano
from geovlm.cli.arguments import data_folders
from geovlm.cli.results import print_results, print_verdict
from geovlm.errors import ConfigError
from geovlm.run import files, launch
from geovlm.run.folder import RunDir

FAST = ("--set", "sample.records=8", "--set", "device=cpu")


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Call `geovlm` in an empty folder; returns (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            cli.main(argv)
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return run


def test_a_dry_run_prints_plan_and_command_lines_and_writes_nothing(call, tmp_path):
    status, out, _ = call("run", "--tasks", "xbd/count", "--dry-run", *FAST)
    assert status == 0
    assert "nano, the built-in model" in out
    assert "generated sample data, 8 records per split" in out
    assert out.count("-m geovlm.engine.worker --run") == 3
    assert "accelerate" not in out  # one process needs no launcher
    assert list(tmp_path.iterdir()) == []


def test_several_processes_are_started_by_accelerate(call):
    status, out, _ = call("run", "--tasks", "xbd/count", "--processes", "2", "--dry-run", *FAST)
    assert status == 0
    assert out.count("-m accelerate.commands.launch --config_file") == 3


def test_a_dry_run_in_json_is_one_document(call):
    status, out, _ = call("run", "--tasks", "xbd/count", "--dry-run", "--json", *FAST)
    found = json.loads(out)
    assert (status, len(found["commands"]), found["device"]) == (0, 3, "cpu")
    assert found["tasks"][0]["samples"] == {"train": 8, "test": 8}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("run",), "no tasks are given"),
        (("run", "--tasks", "xdb"), "unknown task 'xdb'"),
        (("run", "--tasks", "xbd", "--set", "modle=1"), "did you mean 'model'?"),
        (("run", "--tasks", "xbd", "--rewards", "papr"), "should be 'paper' or 'robust'"),
        (("run", "--tasks", "xbd/count", "--data", "xbd=/nowhere"), "/nowhere does not exist"),
        (("run", "--tasks", "xbd", "--model", "./nope"), "model './nope' does not exist"),
        (("run", "--tasks", "xbd", "--resume"), "nothing to resume"),
        (("run", "nothing.toml"), "nothing.toml: No such file"),
        (
            ("eval", "--model", "nano", "--tasks", "xbd", "--output", "x", "--split", "tset"),
            "split",
        ),
        (("config", "show", "nanoo"), "did you mean 'nano'?"),
    ],
)
def test_impossible_requests_are_one_line_and_status_2(call, argv, message):
    status, out, err = call(*argv)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err


def test_a_folder_with_another_run_is_refused_with_the_way_out(call, tmp_path):
    old = RunDir(tmp_path / "old")
    files.write_json(old.resolved, {})
    old.add_seconds("sft", 1.0)
    status, _, err = call("run", "--tasks", "xbd/count", "--output", "old")
    assert status == 2
    assert "old holds a run already (--resume continues it" in err


def test_a_run_that_stopped_before_any_work_may_be_started_again(call, tmp_path, stages):
    old = RunDir(tmp_path / "old")
    files.write_json(old.resolved, {})
    assert call("run", "--tasks", "xbd/count", "--output", "old", *FAST)[0] == 0
    assert len(stages) == 3


def test_an_interrupted_run_says_how_to_go_on(call, tmp_path, monkeypatch):
    def interrupted(run, *, config, index, resume, stop, heartbeat):
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "run_stage", interrupted)
    status, _, err = call("run", "--tasks", "xbd/count", "--output", "r", *FAST)
    assert status == 130
    assert f"to continue: geovlm run --resume --output {tmp_path / 'r'}" in err


def test_a_folder_with_something_else_is_refused(call, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    status, _, err = call("run", "--tasks", "xbd/count", "--output", "notes")
    assert status == 2
    assert "is not an empty folder" in err


@pytest.fixture
def stages(monkeypatch):
    """Replace the processes of stages by a note of what would have been started."""
    started: list[tuple[int, bool, int]] = []

    def fake(run, *, config, index, resume, stop=None, heartbeat=None):
        started.append((index, resume, config.world_size(index)))
        files.write_json(run.stage(index) / "done.json", {})
        entry = {"n": 8, "metrics": {"accuracy": 0.5}, "ci95": {"accuracy": [0.25, 0.75]}}
        entry |= {"sampled_reward": 1.25}
        run.write_metrics("xbd/count", "base", primary="accuracy", entry=entry)
        return 1.0

    monkeypatch.setattr(launch, "run_stage", fake)
    monkeypatch.setattr("geovlm.report.page.write", lambda path: path / "report.html")
    return started


def test_a_run_starts_its_stages_and_prints_the_scores(call, tmp_path, stages):
    status, out, err = call("run", "--tasks", "xbd/count", *FAST)
    run = RunDir(tmp_path / "runs" / "xbd-count")
    assert status == 0
    assert stages == [(0, False, 1), (1, False, 1), (2, False, 1)]
    assert "xbd/count\taccuracy\t8\t0.500 [0.25, 0.75]\t1.250" in out
    assert "the built-in model" in err
    picture = run.samples / "xbd__count.png"
    assert picture.read_bytes()[:4] == b"\x89PNG"
    said = [line for line in err.splitlines() if not line.startswith("reading ")]
    assert said[0] == f"sample  {picture}"  # before the trials and the plan
    assert said[1].strip().startswith("How many buildings are damaged?")
    assert said[2].strip().startswith("answer: ")
    described = json.loads(run.environment.read_text())
    assert described["data"]["xbd"]["splits"]["train"]["records"] == 8
    assert described["packages"]["trl"]
    assert run.read_resolved()["task_names"] == ["xbd/count"]


def test_a_run_that_the_trials_refuse_leaves_no_pictures(call, tmp_path, monkeypatch):
    def refuse(trials, *, on_cpu):
        raise ConfigError("a trainer cannot take a step")

    monkeypatch.setattr("geovlm.plan.trials.process.check", refuse)
    status, _, err = call("run", "--tasks", "xbd/count", "--output", "r", *FAST)
    assert status == 2
    assert "sample  " in err
    assert not (tmp_path / "r").exists()


def test_resume_goes_on_with_the_stored_configuration(call, tmp_path, stages):
    call("run", "--tasks", "xbd/count", "--output", "r", "--seed", "3", *FAST)
    (tmp_path / "r" / "stages" / "2-grpo" / "done.json").unlink()
    stages.clear()
    described = json.loads(RunDir(tmp_path / "r").environment.read_text())
    first = {"started": "2026-01-01T00:00:00+00:00", "command": ["run", "--tasks", "xbd/count"]}
    files.write_json(RunDir(tmp_path / "r").environment, described | first)
    status, _, err = call("run", "--resume", "--output", "r", "--processes", "2")
    assert (status, stages) == (0, [(2, True, 2)])
    assert "stage 0-sft: already done, skipped" in err
    assert RunDir(tmp_path / "r").read_resolved()["config"]["seed"] == 3
    assert first.items() <= json.loads(RunDir(tmp_path / "r").environment.read_text()).items()


def test_resume_finds_the_latest_run_of_the_tasks(call, tmp_path, stages):
    call("run", "--tasks", "xbd/count", *FAST)
    call("run", "--tasks", "xbd/count", *FAST)
    (tmp_path / "runs" / "xbd-count-2" / "stages" / "0-sft" / "done.json").unlink()
    stages.clear()
    assert call("run", "--tasks", "xbd/count", "--resume", *FAST)[0] == 0
    assert stages == [(0, True, 1)]


def test_resume_with_other_values_names_the_keys(call, tmp_path, stages):
    call("run", "--tasks", "xbd/count", *FAST)
    status, _, err = call(
        "run", "--tasks", "xbd/count", "--resume", *FAST, "--seed", "4", "--set", "stages.0.steps=9"
    )
    assert status == 2
    assert "seed is 0 and cannot become 4: stage 0-sft, which is done, used it" in err
    assert "stages.0.steps is 150 and cannot become 9: stage 0-sft, which is done" in err


def in_grpo(call, folder, *options):
    """Leave a run as it is when GRPO has not saved anything."""
    assert call("run", "--tasks", "xbd/count", "--output", "r", *options, *FAST)[0] == 0
    (folder / "r" / "stages" / "2-grpo" / "done.json").unlink()


def test_what_a_later_stage_alone_reads_may_change_and_is_recorded(call, tmp_path, stages):
    in_grpo(call, tmp_path, "--seed", "3")
    stages.clear()
    status, _, _ = call("run", "--resume", "--output", "r", "--set", "stages.2.steps=3")
    resolved = RunDir(tmp_path / "r").read_resolved()
    assert (status, stages) == (0, [(2, True, 1)])
    assert (resolved["config"]["stages"][2]["steps"], resolved["config"]["seed"]) == (3, 3)
    (change,) = resolved["changes"]
    assert (change["stage"], change["key"], change["from"], change["to"]) == (
        *("2-grpo", "stages.2.steps"),
        *(8, 3),
    )


def test_data_may_lie_elsewhere_when_a_run_is_resumed(call, tmp_path, stages):
    call("data", "sample", "xbd", "--out", "job1/my xbd", "-n", "8")
    in_grpo(call, tmp_path, "--data", "xbd=job1/my xbd")
    (tmp_path / "job1").rename(tmp_path / "job2")
    status, _, err = call("run", "--resume", "--output", "r")
    line = shlex.split(err.partition("may lie elsewhere: ")[2].rstrip(")\n"))
    assert (status, line[-2:]) == (2, ["--data", "xbd=DIR"])
    stages.clear()
    line[-1] = "xbd=job2/my xbd"
    status, _, err = call(*line[1:])
    assert (status, stages) == (0, [(2, True, 1)]), err


def test_other_data_are_refused_when_a_run_is_resumed(call, tmp_path, stages):
    call("data", "sample", "xbd", "--out", "job1", "-n", "8")
    in_grpo(call, tmp_path, "--data", "xbd=job1")
    image = min((tmp_path / "job1" / "train" / "images").iterdir())
    image.write_bytes(max((tmp_path / "job1" / "test" / "images").iterdir()).read_bytes())
    status, _, err = call("run", "--resume", "--output", "r", "--dry-run")
    assert status == 2
    assert f"split 'train' differs in train/images/{image.name}" in err


def test_a_run_resumes_from_another_folder_and_under_another_name(
    call, tmp_path, stages, monkeypatch
):
    shutil.copytree(nano.path(), tmp_path / "m")
    call("data", "sample", "xbd", "--out", "job1", "-n", "8")
    in_grpo(call, tmp_path, "--data", "xbd=job1", "--model", "m")
    (tmp_path / "r").rename(tmp_path / "moved")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    stages.clear()
    status, _, err = call("run", "--resume", "--output", "../moved")
    assert (status, stages) == (0, [(2, True, 1)]), err


def test_a_stage_may_be_added_to_the_file_of_a_run(call, tmp_path, stages):
    """One more stage after those that are done: the others are not repeated."""
    file = tmp_path / "run.toml"
    text = 'tasks = ["xbd/count"]\n[[stages]]\nkind = "sft"\nsteps = 1\n'
    file.write_text(text)
    assert call("run", "run.toml", "--output", "r", *FAST)[0] == 0
    file.write_text(text + '[[stages]]\nkind = "grpo"\nsteps = 1\n')
    stages.clear()
    status, _, err = call("run", "run.toml", "--resume", "--output", "r", *FAST)
    assert (status, stages) == (0, [(1, True, 1)]), err
    resolved = RunDir(tmp_path / "r").read_resolved()
    assert resolved["started_with"] == {"0": 1, "1": 1}
    assert [each["key"] for each in resolved["changes"]] == ["stages.1"]


def test_generated_data_are_made_again_where_the_cache_is_another(
    call, tmp_path, stages, monkeypatch
):
    in_grpo(call, tmp_path)
    monkeypatch.setenv("GEOVLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    stages.clear()
    status, _, err = call("run", "--resume", "--output", "r")
    assert (status, stages) == (0, [(2, True, 1)]), err


def test_a_moved_model_is_given_by_its_new_folder(call, tmp_path, stages):
    shutil.copytree(nano.path(), tmp_path / "m")
    in_grpo(call, tmp_path, "--model", "m")
    (tmp_path / "m").rename(tmp_path / "m2")
    status, _, err = call("run", "--resume", "--output", "r")
    assert status == 2
    assert "it may lie elsewhere: geovlm run --resume --output" in err
    assert call("run", "--resume", "--output", "r", "--model", "m2")[0] == 0


def test_an_evaluation_is_a_run_without_stages(call, tmp_path, stages):
    status, out, _ = call(
        "eval", "--model", "nano", "--tasks", "xbd/count", "--output", "e", "--json", *FAST
    )
    assert (status, stages) == (0, [(-1, False, 1)])
    assert json.loads(out)["tasks"]["xbd/count"]["stages"]["base"]["n"] == 8
    config = RunDir(tmp_path / "e").read_resolved()["config"]
    assert (config["stages"], config["eval"]["limit"]) == ([], None)


EVAL = ("eval", "--model", "nano", "--tasks", "xbd/count", "--output", "e", *FAST)


def test_an_evaluation_on_two_machines_has_the_ranks_of_both(call, tmp_path):
    where = ("--machines", "2", "--machine-rank", "0", "--main-address", "node01:29500")
    status, out, _ = call(*EVAL, *where, "--processes", "2", "--dry-run")
    assert status == 0
    assert "# eval, machine 0: ranks 0 to 1 of 4, ddp, rendezvous node01:29500" in out
    assert "# eval, machine 1: ranks 2 to 3 of 4, ddp, rendezvous node01:29500" in out
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_for_machines_that_are_not_there_is_refused(call, stages):
    status, _, err = call(*EVAL, "--set", "machines=2")
    assert status == 2
    assert "the run is for 2 machines, and this is the only one" in err
    assert stages == []


def test_folders_of_data_are_told_from_names(tmp_path):
    folder = tmp_path / "a=b"
    folder.mkdir()
    assert data_folders([str(folder), "xbd=/d"]) == (folder, {"xbd": {"root": "/d"}})
    with pytest.raises(ConfigError, match="the common folder is"):
        data_folders(["/a", "/b"])


def test_scores_stand_stage_by_stage(capsys):
    def entry(value: float) -> dict:
        return {"n": 4, "metrics": {"f1": value}, "ci95": {}, "sampled_reward": value}

    stages = {"base": entry(0.25), "grpo": entry(0.5)}
    print_results({"tasks": {"a": {"primary": "f1", "stages": stages}}})
    assert capsys.readouterr().out.splitlines() == [
        "task\tmetric\tn\tbase\tgrpo\tbase reward\tgrpo reward",
        "a\tf1\t4\t0.250\t0.500\t0.250\t0.500",
    ]


def test_a_baseline_of_other_samples_stands_beside_the_models_value_of_them(capsys):
    few = {"stage": "sft", "n": 4, "metrics": {"f1": 0.5}, "model": {"f1": 0.25}, "gain": {}}
    entry = {"n": 8, "metrics": {"f1": 0.75}, "ci95": {}, "sampled_reward": 1.0}
    task = {"primary": "f1", "stages": {"sft": entry}, "blind": {"text_only": few}}
    print_results({"tasks": {"a": task}})
    assert "0.500 text only (n 4: model 0.250)" in capsys.readouterr().out


def test_the_verdict_is_a_line_per_task_and_a_sentence(capsys):
    blind = {"name": "text only", "value": 0.125, "model": 0.1875, "n": 16}
    learned = {"stages": {"base": 0.06, "sft": 0.94}, "blind": blind | {"value": 0.18, "n": 100}}
    learned |= {"primary": "accuracy", "n": 100, "reasons": [], "sentence": "learned"}
    blank = {
        "stages": {"base": None, "sft": 0.2},
        "blind": blind,
        "n": 100,
        "sentence": "not shown",
    }
    blank |= {"primary": "f1", "reasons": ["format lost: 40 % of the answers cannot be read"]}
    tasks = {"xbd/disaster": learned, "xbd/count": blank}
    print_verdict({"summary": "SFT taught xbd/disaster.", "tasks": tasks, "sampled": None})
    assert capsys.readouterr().out.splitlines() == [
        "xbd/disaster  accuracy  0.06 → 0.94       blind 0.18                     learned",
        "xbd/count     f1        undefined → 0.20  blind 0.12 (n 16: model 0.19)  not shown",
        "    format lost: 40 % of the answers cannot be read",
        "SFT taught xbd/disaster.",
    ]


def test_config_shows_presets_and_schema(call):
    assert "learning_rate = 1e-6" in call("config", "show", "geovlm-r1")[1]
    assert json.loads(call("config", "show", "nano", "--json")[1])["model"] == "nano"
    assert "stages" in json.loads(call("config", "schema")[1])["properties"]
    assert "geovlm-r1" in call("config", "presets")[1]


def test_the_parent_process_never_imports_torch(tmp_path):
    code = (
        "import sys\nfrom geovlm import cli\n"
        "try:\n"
        "    cli.main(['run', '--tasks', 'xbd/count', '--dry-run', '--set', 'sample.records=4'])\n"
        "except SystemExit as left:\n"
        "    heavy = [m for m in ('torch', 'transformers', 'trl') if m in sys.modules]\n"
        "    sys.exit(left.code or (f'imported {heavy}' if heavy else 0))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, Path(tmp_path, "runs").exists()) == (0, False), done.stderr
