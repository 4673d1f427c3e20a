"""A described data set among the plugins: found in the working folder, listed, checked, planned."""

from __future__ import annotations

from pathlib import Path

import pytest

from geovlm.plugins import registry
from geovlm.plugins.described import FILES_VARIABLE, files_of_user
from tests.inside import geovlm
from tests.plugins.annotations import sets


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the set in COCO, and no description yet."""
    sets.images(tmp_path)
    sets.coco(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(FILES_VARIABLE, raising=False)
    return tmp_path


def run(*words: str) -> str:
    done = geovlm(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_commands_lead_from_a_file_to_a_preview(folder: Path) -> None:
    added = run("data", "add", "own", "instances.json", "--images", "images")
    assert "objects: car 3, truck 1" in added
    run("tasks", "preview", "own", "--out", "seen", "-n", "2", "--split", "train")
    assert len(list((folder / "seen").glob("own-*.png"))) == 2


def test_a_described_task_is_listed_and_shown(folder: Path) -> None:
    run("data", "add", "own", "instances.json", "--images", "images", "--licence", "CC-BY-4.0")
    assert "own\t1\town" in run("tasks", "list")
    shown = run("tasks", "show", "own")
    assert "Boxes of every car, truck." in shown
    assert "licence: CC-BY-4.0" in shown


def test_a_question_is_asked_for_each_label_that_an_image_has(folder: Path) -> None:
    run("data", "add", "own", "instances.json", "--images", "images", "--split", "1/0/0")
    task = registry.load().task("own")
    dataset = registry.load().dataset("own")
    from geovlm.data import loading

    records = loading.load_records(dataset, root=folder, split="train").records
    found = loading.task_samples(task, records)
    ids = [sample.id for sample in found]
    assert ids[:3] == ["a.png/car", "a.png/truck", "b.png/car"]
    assert len(ids) == 4  # and one of an image without objects
    assert found[3].target["boxes"] == []


def test_a_description_with_a_fault_is_a_broken_plugin(folder: Path) -> None:
    (folder / "own.toml").write_text('[dataset]\nname = "own"\n')
    record = registry.load().plugin("own")
    assert record.status == "broken"
    assert "dataset.source is missing" in record.reason


def test_a_file_of_another_kind_is_no_description(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[project]\n")
    (folder / "binary.toml").write_bytes(b"\xff\xfe\x00")
    assert files_of_user() == ()


def test_a_name_that_is_taken_is_refused_before_anything_is_read(folder: Path) -> None:
    done = geovlm("data", "add", "xbd", "instances.json")
    assert done.returncode == 2
    assert "a data set 'xbd' is installed" in done.stderr
    assert not (folder / "xbd.toml").exists()


def test_a_label_that_no_object_has_is_refused(folder: Path) -> None:
    words = ["data", "add", "own", "instances.json", "--images", "images", "--labels", "car,bus"]
    done = geovlm(*words)
    assert done.returncode == 2
    assert "no object has the label 'bus' (labels are car, truck)" in done.stderr


def test_a_described_data_set_is_checked_without_a_folder(folder: Path) -> None:
    run("data", "add", "own", "instances.json", "--images", "images")
    assert "images missing: 0" in run("data", "check", "own")
    done = geovlm("data", "check", "xbd")
    assert done.returncode == 2
    assert "missing option '--data'" in done.stderr


def test_a_described_data_set_is_not_generated_and_conforms_on_real_records(folder: Path) -> None:
    run("data", "add", "own", "instances.json", "--images", "images", "--split", "1/1/1")
    done = geovlm("data", "sample", "own", "--out", "made")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: data set 'own' has no generated data (the real ones are in {folder})\n"
    )
    lines = run("plugins", "check", "own").splitlines()[1:]
    assert {line.split("\t")[0] for line in lines} == {"ok"}
    assert f"data set 'own' has no make_sample: 3 records of {folder} read" in "".join(lines)


def table(folder: Path) -> None:
    rows = [f"{name},Is there a car?,{said}" for name, said in zip("abc", "yno", strict=True)]
    (folder / "q.csv").write_text(
        "\n".join(["image,question,answer", *rows]).replace(",Is", ".png,Is")
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["instances.json", "--group-by", "scene"], "group_by is for"),
        (["instances.json", "--label-field", "kind"], "columns is for"),
        (["instances.json", "--reasoning", "why"], "reasoning names a column"),
        (["instances.json", "--task", "vqas"], "task must be one of detect"),
        (["instances.json", "--format", "cocoa"], "format must be one of coco"),
        (["q.csv", "--task", "caption", "--labels", "a,b"], "labels is for"),
        (["q.csv", "--task", "classify"], "holds no record for the task classify"),
        (["q.csv", "--group-by", "scene"], "q.csv has no column 'scene'"),
        (["q.csv", "--label-field", "anser"], "did you mean 'answer'?"),
        (["q.csv", "--split", "given"], "has no column of splits"),
    ],
)
def test_an_option_without_use_or_column_is_refused_in_one_line(
    words: list[str], message: str, folder: Path
) -> None:
    table(folder)
    done = geovlm("data", "add", "own", *words, "--images", "images")
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (folder / "own.toml").exists()


def test_only_records_that_the_task_can_use_are_counted(folder: Path) -> None:
    (folder / "q.csv").write_text("image,question,answer\na.png,q,yes\nb.png,q,\nc.png,,no\n")
    added = run("data", "add", "own", "q.csv", "--images", "images", "--split", "1/0/0")
    assert "records: train 1\n" in added
    assert "note: no record is in val and test" in added
    assert "1 for record without an answer: q.csv:3" in added
    assert "1 for record without a question: q.csv:4" in added
