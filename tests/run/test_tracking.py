"""Trackers are refused before a run, and cannot disturb one."""

from __future__ import annotations

import contextlib
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest

from geovlm.config import load, trackers
from geovlm.config.schema import RunConfig
from geovlm.errors import ConfigError, StoppedError
from geovlm.run import changes
from geovlm.run.folder import RunDir
from geovlm.run.tracking import processes
from tests import inside

NANO = ("run", "--tasks", "xbd/count", "--set", "sample.records=8", "--set", "device=cpu")


def config(track: str) -> RunConfig:
    return load.load(None, tasks=["xbd/count"], track=track)


def fake(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let the process of each tracker run this code."""
    monkeypatch.setattr(processes, "python", lambda *_: [sys.executable, "-c", code])


def installed(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    def version(name: str) -> str:
        if name in versions:
            return versions[name]
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(trackers.metadata, "version", version)


def test_names_are_a_list_or_a_text_and_count_once() -> None:
    assert config("wandb, trackio,wandb").track == ["wandb", "trackio"]
    given = load.load(None, tasks=["xbd/count"], overrides=['track=["mlflow"]'])
    assert given.track == ["mlflow"]
    assert load.load(None, tasks=["xbd/count"]).track == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--track", "wandbb"), "track: unknown tracker 'wandbb', did you mean 'wandb'?"),
        (("--track", "neptune"), "known are trackio, wandb, tensorboard, mlflow"),
        (("--track-project", "a/b"), "track_project: string should match pattern"),
        (
            ("--set", 'stages.0.trainer.report_to=["wandb"]'),
            "stages.0.trainer: 'report_to' cannot be set here, it is the run's: 'track'",
        ),
        (("--set", "stages.2.trainer.run_name=mine"), "has the name of the run folder"),
    ],
)
def test_what_cannot_be_tracked_is_refused(options: tuple[str, ...], message: str) -> None:
    ended = inside.geovlm(*NANO, *options, "--dry-run")
    assert ended.returncode == 2
    assert message in ended.stderr


@pytest.mark.parametrize("mode", [("--dry-run",), ()], ids=["dry", "real"])
def test_an_absent_package_is_refused_before_anything_starts(
    mode: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch)
    output = tmp_path / "run"
    ended = inside.geovlm(*NANO, "--output", output, "--track", "wandb", *mode)
    assert ended.returncode == 2
    assert "error: track: wandb is not installed (pip install 'wandb>=0.31')" in ended.stderr
    assert not output.exists()


def test_an_old_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, trackio="0.9.1")
    with pytest.raises(ConfigError, match=r"trackio 0\.9\.1 is installed, 0\.43 or later .*track]"):
        processes.check(config("trackio"))


def test_mlflow_may_be_the_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, **{"mlflow-skinny": "3.17"})
    trackers.check_installed(["mlflow"])


def test_the_reason_of_the_trackers_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, wandb="0.31.0", tensorboard="2.21.0")
    fake(monkeypatch, "import sys; sys.exit('noise\\nerror: track: no login (log in)\\nnoise')")
    with pytest.raises(ConfigError) as refused:
        processes.check(config("wandb,tensorboard"))
    assert str(refused.value).split("\n       ") == ["track: no login (log in)"] * 2


def test_a_package_that_breaks_the_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, wandb="0.31.0")
    fake(monkeypatch, "import os; os.abort()")
    with pytest.raises(ConfigError, match="track: wandb cannot be used: no output"):
        processes.check(config("wandb"))


def test_a_package_that_cannot_be_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, wandb="0.31.0")
    (tmp_path / "wandb.py").write_text("raise TypeError('Descriptors cannot be created directly')")
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parents[2]}:{tmp_path}")
    expected = "wandb is installed and cannot be imported: TypeError: Descriptors cannot be created"
    with pytest.raises(ConfigError, match=expected):
        processes.check(config("wandb"))


@pytest.mark.parametrize(
    ("error", "word"), [(None, "done"), (StoppedError("x"), "stopped"), (OSError("x"), "failed")]
)
def test_trackers_are_told_how_the_run_ended(
    error: Exception | None, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    fake(monkeypatch, f"import sys; open({str(told)!r}, 'w').write(sys.stdin.read())")
    ended = pytest.raises(type(error)) if error else contextlib.nullcontext()
    with ended, processes.following(RunDir(tmp_path), config("wandb")):
        if error:
            raise error
    assert told.read_text() == f"{word}\n"


def test_a_tracker_that_dies_leaves_the_run_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake(monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with processes.following(RunDir(tmp_path), config("wandb")):
        pass
    printed = capsys.readouterr().err
    assert "warning: track: wandb was ended by SIGKILL, see " in printed
    assert f"; to send the rest: geovlm run --resume --output {tmp_path}" in printed


def test_a_tracker_that_hangs_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(processes, "_PATIENCE_S", {"done": 0.5})
    fake(monkeypatch, "import time; time.sleep(60)")
    began = time.monotonic()
    with processes.following(RunDir(tmp_path), config("wandb")):
        pass
    assert time.monotonic() - began < 20.0
    assert "warning: track: wandb was too slow and is ended, see" in capsys.readouterr().err


def test_trackers_may_change_on_resume() -> None:
    grpo = changes.Work("stage 2-grpo", "grpo", 2, False)
    change = changes.Change(("track",), [], ["trackio"])
    assert changes.obstacle(change, [grpo], complete=False) is None


def test_the_plan_names_trackers_and_the_tracked_run(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, trackio="0.43")
    fake(monkeypatch, "")
    track = ("--track", "trackio", "--track-project", "eo")
    ended = inside.geovlm(*NANO, "--output", "runs/first", *track, "--dry-run")
    assert "track   trackio: project eo, run first\n" in ended.stdout
