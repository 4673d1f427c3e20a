"""`geovlm export` without a model: refusals before any work, and what is left behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from geovlm import cli, nano
from geovlm.cli.commands import export as command
from geovlm.run import files
from geovlm.run.export import Job
from geovlm.run.folder import RunDir
from tests.report.test_page import begun, scored

CLASSES = ["AutoTokenizer (T)", "AutoImageProcessor (I)", "AutoModelForImageTextToText (M)"]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A finished run of one SFT stage, with nano's weights as its own."""
    made = begun(tmp_path / "run")
    scored(made, "sft", value=0.5, completion="<answer> none </answer>")
    metrics = made.read_metrics()
    stages = metrics["tasks"]["xbd/detect"]["stages"]
    stages["sft"] |= {"decoding": {"max_new_tokens": 96}, "seed": 0, "task_version": 1}
    files.write_json(made.metrics, metrics)
    environment = {"geovlm": "0.1.0", "python": "3.11.7", "packages": {"torch": "2.13.0"}}
    files.write_json(made.environment, environment)
    shutil.copytree(nano.path(), made.stage(0) / "model")
    files.write_json(made.stage(0) / "done.json", {"kind": "sft", "steps": 3, "seconds": 5.0})
    return made


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]):
    """Call `geovlm export`; returns (exit status, stdout, stderr)."""

    def export(*argv: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            cli.main(["export", *map(str, argv)])
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return export


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch):
    """Let the stage's model and the exported folder say this."""

    def use(own: str, stock: str) -> None:
        def run_models(scratch: Path, job: Job) -> tuple[dict, dict]:
            shutil.copytree(job.model, scratch / "model", dirs_exist_ok=True)
            (scratch / "own.json").write_text("{}")
            return (
                {"answers": [own], "prompts": [[1]], "dtype": job.dtype or "float32"},
                {"answers": [stock], "prompts": [[1]], "classes": CLASSES},
            )

        monkeypatch.setattr(command, "run_models", run_models)

    return use


def test_a_folder_gets_its_name_when_its_answers_are_the_same(
    run: RunDir, tmp_path: Path, call, answered
) -> None:
    answered("<answer> none </answer>", "<answer> none </answer>")
    out = tmp_path / "new" / "detector"
    status, printed, messages = call(run.path, "--out", out, "--json")
    found = json.loads(printed)
    assert (status, found["stage"], found["dtype"], found["compared"]) == (0, "sft", "float32", 1)
    assert found["classes"] == CLASSES
    assert "AutoProcessor was not tested" in messages
    assert (out / "README.md").read_text(encoding="utf-8").count("# detector") == 1
    assert (out / "model.safetensors").is_file()
    assert [path.name for path in out.parent.iterdir()] == ["detector"]


def test_an_empty_folder_will_do_and_its_name_is_printed(
    run: RunDir, tmp_path: Path, call, answered
) -> None:
    answered("yes", "yes")
    (tmp_path / "out").mkdir()
    status, printed, messages = call(run.path, "--out", tmp_path / "out", "--dtype", "bfloat16")
    assert (status, printed) == (0, f"{tmp_path / 'out'}\n")
    assert "1 answers differ from the evaluation of the run" in messages


def test_other_answers_end_with_1_and_without_a_folder(
    run: RunDir, tmp_path: Path, call, answered
) -> None:
    answered("yes", "no")
    status, _, messages = call(run.path, "--out", tmp_path / "out")
    assert status == 1
    assert "error: 1 of 1 answers differ after reloading" in messages
    assert not (tmp_path / "out").exists()
    left = tmp_path / ".out.unfinished"
    assert (left / "own.json").is_file()
    assert not (left / "model").exists()


def test_requests_that_cannot_be_done_are_one_line(run: RunDir, tmp_path: Path, call) -> None:
    status, _, messages = call(tmp_path, "--out", tmp_path / "out")
    assert (status, "is not a run folder" in messages) == (2, True)
    status, _, messages = call(run.path, "--out", run.path)
    assert (status, "exists and is not an empty folder" in messages) == (2, True)
    status, _, messages = call(run.path, "--out", tmp_path / "out", "--stage", "grpo")
    assert (status, messages.startswith(f"error: {run.path} has no stage 'grpo'")) == (2, True)
    (run.stage(0) / "done.json").unlink()
    status, _, messages = call(run.path, "--out", tmp_path / "out")
    assert (status, "is not finished" in messages, messages.count("\n")) == (2, True, 1)
    assert not list(tmp_path.glob(".out*"))


def test_a_full_disk_is_found_before_anything_is_written(
    run: RunDir, tmp_path: Path, call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    status, _, messages = call(run.path, "--out", tmp_path / "out")
    assert (status, "has 0.00 GB free" in messages) == (2, True)
    assert not list(tmp_path.glob(".out*"))
