"""A description is found wherever it lies, and stays with the run that it was given to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from geovlm.plan import descriptions
from geovlm.plugins.annotations import description
from geovlm.plugins.described import FILES_VARIABLE
from geovlm.run.folder import RunDir
from tests.inside import geovlm
from tests.plugins.annotations import sets

SMALL = ("--set", "sample.records=4", "--set", "eval.base=false")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A description that does not lie in the working folder, which is empty."""
    data = tmp_path / "data"
    sets.images(data)
    sets.coco(data)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv(FILES_VARIABLE, "")  # so that it is as before when the test ends
    monkeypatch.delenv(FILES_VARIABLE)
    file = data / "own.toml"
    written = geovlm(
        *("data", "add", "own", data / "instances.json", "--images", data / "images"),
        *("--split", "1/1/1", "--seed", "5", "--out", file),
    )
    assert written.returncode == 0, written.stderr
    return file


def run(*words: object) -> str:
    done = geovlm(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refusal(*words: object) -> str:
    done = geovlm(*words)
    assert done.returncode == 2, done.stderr
    return done.stderr.splitlines()[-1]


def stopped(*words: object) -> str:
    """Run a command up to its first stage; returns what it said."""
    done = geovlm("run", *words, until="0")
    assert "stopped: stage 0-sft: the test has seen enough" in done.stderr, done.stderr
    return done.stderr


def test_a_file_elsewhere_is_previewed(file: Path) -> None:
    run("tasks", "preview", "own", "--data", file, "--out", "seen", "-n", "1")
    assert Path("seen/own-000.png").is_file()


def test_preview_check_and_plan_say_the_same_of_objects_too_small_for_nano(file: Path) -> None:
    # 40 px of 200 become 23 of 112 px across, and 17 of 84 down; 4 px become less than 2
    annotations = json.loads((file.parent / "instances.json").read_text())
    for each in annotations["annotations"]:
        each["bbox"][2:] = [4, 4]
    (file.parent / "instances.json").write_text(json.dumps(annotations))
    file.write_text(file.read_text().replace("1/1/1", "1/0/0"))
    said = "boxes are under 4 px at nano, which sees 112 x 56 px; median"
    checked = run("data", "check", "own", "--data", file)
    planned = geovlm("run", file, "--dry-run", "--set", "eval.split=train").stdout
    words = ("own", "--data", file, "--out", "seen")
    assert f"100 % of 4 {said}" in checked
    assert f"warning  own: 100 % of 4 {said}" in planned
    assert f"warning: 100 % of 4 {said}" in geovlm("tasks", "preview", *words).stderr


@pytest.mark.parametrize("words", [("tasks", "list"), ("tasks", "show", "own")])
def test_a_file_elsewhere_is_listed_and_shown(file: Path, words: tuple[str, ...]) -> None:
    assert "Boxes of every car, truck." in run(*words, "--data", file)


@pytest.mark.parametrize("words", [("check", "own"), ("stats", "own"), ("leaks", "own")])
def test_a_file_elsewhere_is_looked_into(file: Path, words: tuple[str, ...]) -> None:
    assert str(file.parent) in run("data", *words, "--data", file)


def test_a_file_is_a_run_on_its_task(file: Path) -> None:
    planned = json.loads(run("run", file, "--dry-run", "--json"))
    assert [task["name"] for task in planned["tasks"]] == ["own"]
    assert planned["config"]["data_files"] == [str(file)]


@pytest.fixture
def many(tmp_path: Path, file: Path) -> Path:
    """A description of 40 questions, the half of each split."""
    rows = [{"image": "a.png", "question": f"How many of {n}?", "answer": "2"} for n in range(40)]
    for n, row in enumerate(rows):
        row["split"] = ("train", "test")[n % 2]
    source = tmp_path / "data" / "rows.jsonl"
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    made = tmp_path / "many.toml"
    run("data", "add", "many", source, "--images", tmp_path / "data" / "images", "--out", made)
    return made


def test_a_dry_run_reads_eight_records_of_a_task_and_says_so(many: Path) -> None:
    said = run("run", many, "--dry-run", "--set", 'stages=[{kind = "sft", epochs = 3}]')
    assert "many  train 4, test 4 read;" in said
    assert "stage   0-sft: 3 epochs of all training samples, 1 CPU process" in said
    assert (
        "note    many has no generated data: of each task at most 8 real records are read here; "
        "'geovlm plan' counts all" in said
    )


def test_the_plan_counts_all_records(many: Path) -> None:
    said = run("plan", many)
    assert "many  train 20, test 20 (20 evaluated);" in said
    assert "real records are read" not in said


def test_a_file_is_evaluated_on_its_task(file: Path) -> None:
    words = ("eval", "--model", "nano", "--data", file, "--output", "scores", "--dry-run", "--json")
    planned = json.loads(run(*words))
    assert [task["name"] for task in planned["tasks"]] == ["own"]


def test_an_evaluation_without_tasks_is_refused(file: Path) -> None:
    assert "no tasks are given" in refusal("eval", "--model", "nano", "--output", "scores")


def test_a_file_is_mixed_with_tasks_of_plugins(file: Path) -> None:
    words = ("run", "--data", file, "--tasks", "own,xbd/refer", "--dry-run", "--json", *SMALL)
    planned = json.loads(run(*words))
    generated = {task["name"]: task["generated"] for task in planned["tasks"]}
    assert generated == {"own": False, "xbd/refer": True}


def test_a_configuration_names_several_files(file: Path) -> None:
    other = file.with_name("other.toml")
    other.write_text(file.read_text().replace('name = "own"', 'name = "other"'))
    Path("run.toml").write_text(f"data_files = ['{file}', '{other}']\n")
    planned = json.loads(run("run", "run.toml", "--dry-run", "--json"))
    assert [task["name"] for task in planned["tasks"]] == ["own", "other"]


def test_a_folder_given_for_the_data_set_is_where_its_paths_start(file: Path) -> None:
    file.parent.rename(file.parents[1] / "moved")
    file = file.parents[1] / "moved" / "own.toml"
    file.write_text(file.read_text().replace(str(file.parents[1] / "data") + "/", ""))
    Path("own.toml").write_text(file.read_text())
    assert "'source'" in refusal("data", "check", "own")
    assert "images missing: 0" in run("data", "check", "own", "--data", f"own={file.parent}")


def test_a_name_of_an_installed_plugin_is_refused(file: Path) -> None:
    file.write_text(file.read_text().replace('name = "own"', 'name = "xbd"'))
    said = refusal("data", "check", "xbd", "--data", file)
    assert said.endswith(
        "the name 'xbd' is that of an installed plugin (change 'name' in the file)"
    )


def test_two_files_of_one_name_are_refused_unless_one_is_chosen(file: Path) -> None:
    Path("own.toml").write_text(file.read_text())
    said = refusal("data", "check", "own", "--data", file)
    assert "two files describe a data set 'own'" in said
    assert "images missing: 0" in run("data", "check", "own", "--data", f"own={file}")


def test_a_broken_file_is_refused_with_its_keys(file: Path) -> None:
    file.write_text('[dataset]\nname = "own"\n')
    assert f"{file}: dataset.source is missing" in refusal("data", "check", "own", "--data", file)


def test_a_file_of_another_data_set_is_refused(file: Path) -> None:
    said = refusal("data", "check", "own", "--data", f"cars={file}")
    assert "the file describes 'own', not 'cars'" in said


def test_a_run_is_resumed_from_any_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped(file, "--output", "run", *SMALL)
    folder = Path("run").absolute()
    copy = folder / "descriptions" / "own.toml"
    assert description.read(copy) == description.read(file)
    file.unlink()
    monkeypatch.chdir("/")
    assert "has changed" not in stopped("--resume", "--output", folder)


def test_a_description_that_has_changed_is_said_and_the_run_keeps_its_own(file: Path) -> None:
    stopped(file, "--output", "run", *SMALL)
    file.write_text(file.read_text().replace('labels = ["car", "truck"]', 'labels = ["car"]'))
    said = stopped("--resume", "--output", "run")
    assert f"note: {file} has changed since the run was started (labels)" in said
    assert description.read(Path("run/descriptions/own.toml")).labels == ("car", "truck")


def test_a_resumed_run_takes_the_changed_description_that_it_is_given(file: Path) -> None:
    stopped(file, "--output", "run", *SMALL)
    file.write_text(file.read_text().replace('licence = ""', 'licence = "CC0-1.0"'))
    said = stopped("--resume", "--output", "run", "--data", f"own={file}")
    assert "has changed" not in said
    assert description.read(Path("run/descriptions/own.toml")).licence == "CC0-1.0"


def test_the_model_of_a_run_brings_its_data_sets(file: Path) -> None:
    stopped(file, "--output", "run", *SMALL)
    descriptions.adopt_around(RunDir(Path("run")).stage(0) / "model")
    assert "own" in run("tasks", "list").split()
