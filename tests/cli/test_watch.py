"""`geovlm watch` on hand-written run folders; a real run is in tests/engine/test_watch.py."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from geovlm.cli.commands import watch as command
from geovlm.run import files
from geovlm.run.folder import RunDir
from geovlm.run.status import identity, watching
from tests import inside

PART = {"kind": "grpo", "rows": 4.0, "exact": True, "over": False, "detail": "", "unit": "step"}
RECORD: dict[str, Any] = {
    "version": 1,
    "state": "running",
    "reason": "",
    "doing": "",
    "process": {"host": "far", "machine": "another one", "pid": 4711, "process_start": 5.0},
    "stage_pid": None,
    "attempt": 1,
    "started_at": "2026-12-01T00:00:00+00:00",
    "resumed_at": None,
    "beat_s": 0.1,
    "timeout_s": 180.0,
    "loss": None,
    "rewards": {"xbd/disaster": {"last": 0.95, "mean": 0.9}},
    "no_signal": {"last": 0.25, "mean": 0.125},
    "health": [{"stage": "1-grpo", "rule": "kl_blowup", "step": 3, "figures": "median KL 2.00"}],
    "memory": {"process": 1.9, "gpu_peak": 12.3, "gpu": 79.6},
    "at": "2026-12-01T00:02:00+00:00",
    "beat": 9,
    "elapsed_s": 130.0,
    "percent": 41.0,
    "eta_s": 190.0,
    "eta_is_guess": False,
    "stage": 1,
    "stages": [
        {"stage": 0, "folder": "0-sft", "seconds": 90.0, "over": True},
        {"stage": 1, "folder": "1-grpo", "seconds": 40.0, "over": False},
    ],
    "parts": [
        {**PART, "stage": 0, "kind": "sft", "name": "train", "total": 9, "done": 9, "over": True}
        | {"seconds": 62.0, "fresh": 9},
        {**PART, "stage": 1, "name": "train", "total": 12, "done": 5, "seconds": 25.0, "fresh": 5},
    ],
    "still_s": 3.0,
    "longest_s": 5.0,
}


def folder(path: Path, **changed: Any) -> Path:
    """Return a run folder whose state is `RECORD` with some changes."""
    files.write_json(path / "resolved.json", {"stage_folders": ["0-sft", "1-grpo"]})
    files.write_json(path / "status.json", RECORD | changed)
    return path


def look(path: Path) -> tuple[dict[str, Any], int]:
    """Return what `watch --once --json` prints, and its exit code."""
    ended = inside.geovlm("watch", path, "--once", "--json")
    found = json.loads(ended.stdout)
    assert isinstance(found, dict)
    return found, ended.returncode


def own() -> dict[str, Any]:
    return identity.own()


def refused(path: Path) -> str:
    ended = inside.geovlm("watch", path, "--once")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    return ended.stderr


def test_a_folder_that_is_not_there_may_not_have_begun(tmp_path: Path) -> None:
    assert "does not exist (the run has not started, or lies elsewhere)" in refused(tmp_path / "no")


def test_an_empty_folder_has_not_started(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / "samples").mkdir()  # drawn before the plan is made
    assert f"the run in {tmp_path} has not started yet" in refused(tmp_path)


def test_a_planned_run_has_not_started(tmp_path: Path) -> None:
    files.write_json(tmp_path / "resolved.json", {})
    assert f"the run in {tmp_path} is planned and has not started yet" in refused(tmp_path)


def test_another_folder_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    assert f"{tmp_path} is not a run folder" in refused(tmp_path)


def test_a_run_of_an_earlier_version_is_named(tmp_path: Path) -> None:
    files.write_json(tmp_path / "resolved.json", {})
    files.write_json(tmp_path / "metrics.json", {})
    said = refused(tmp_path)
    assert "has no status.json: an earlier version of GeoVLM wrote this run" in said
    assert f"'geovlm report {tmp_path}'" in said


def test_a_state_of_another_version_is_not_read(tmp_path: Path) -> None:
    assert "is of another version of GeoVLM" in refused(folder(tmp_path, version=2))


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    (folder(tmp_path) / "status.json").write_text("{")
    assert f"{tmp_path / 'status.json'} cannot be read" in refused(tmp_path)


@pytest.mark.parametrize(("state", "code"), [("done", 0), ("failed", 1), ("stopped", 3)])
def test_the_end_of_a_run_is_the_exit_code(tmp_path: Path, state: str, code: int) -> None:
    view, ended = look(folder(tmp_path, state=state, reason="why"))
    assert (view["state"], view["why"], ended) == (state, "why", code)


def test_a_live_process_of_this_machine_is_running(tmp_path: Path) -> None:
    view, code = look(folder(tmp_path, process=own()))
    assert (view["state"], view["slow"], code) == ("running", False, 0)


def test_a_gone_process_of_this_machine_was_killed(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    view, code = look(folder(tmp_path, process=own() | {"pid": child.pid}))
    assert (view["state"], code) == ("killed", 1)
    assert view["why"] == f"process {child.pid} on {socket.gethostname()} is gone and left no word"


def test_a_long_step_is_slow_and_not_killed(tmp_path: Path) -> None:
    view, code = look(folder(tmp_path, process=own(), still_s=310.0, longest_s=12.0))
    assert (view["state"], view["slow"], code) == ("running", True, 0)
    assert view["why"] == "no step or batch was finished for 5:10, before it took at most 0:12"


def test_a_step_as_long_as_others_is_not_slow(tmp_path: Path) -> None:
    view, _ = look(folder(tmp_path, process=own(), still_s=310.0, longest_s=100.0))
    assert view["slow"] is False


def test_a_far_run_that_beats_is_running(tmp_path: Path) -> None:
    path = folder(tmp_path, timeout_s=0.0, beat_s=2.0)
    later = threading.Timer(0.5, lambda: folder(tmp_path, timeout_s=0.0, beat=10))
    later.start()
    assert look(path)[0]["state"] == "running"
    later.join()


def test_a_far_run_without_a_beat_is_silent(tmp_path: Path) -> None:
    view, code = look(folder(tmp_path))
    assert (view["state"], code) == ("silent", 0)
    assert view["why"].startswith("no heartbeat of process 4711 on far for 0:0")


def test_a_far_run_without_a_beat_whose_file_is_old_was_killed(tmp_path: Path) -> None:
    hour_ago = time.time() - 3600
    os.utime(folder(tmp_path) / "status.json", (hour_ago, hour_ago))
    view, code = look(tmp_path)
    assert (view["state"], code) == ("killed", 1)
    assert view["why"].startswith("no heartbeat of process 4711 on far for 1:00:0")


def test_a_far_run_that_holds_its_lock_is_paused(tmp_path: Path) -> None:
    hour_ago = time.time() - 3600
    os.utime(folder(tmp_path) / "status.json", (hour_ago, hour_ago))
    with RunDir(tmp_path).locked():
        view, code = look(tmp_path)
    assert (view["state"], code) == ("paused", 0)
    assert "it holds the lock of the folder" in view["why"]


def test_a_file_from_the_future_is_judged_by_its_counter() -> None:
    """The clock of the file system is two days ahead of ours."""
    judged = watching.judge(
        "unknown", RECORD, unseen_s=200.0, seen=True, old_s=-172_800.0, locked=False
    )
    assert judged[0] == "killed"


def test_a_file_that_ours_clock_calls_old_is_judged_by_its_counter() -> None:
    judged = watching.judge(
        "unknown", RECORD, unseen_s=5.0, seen=True, old_s=172_800.0, locked=False
    )
    assert judged == ("running", "")


def test_the_state_is_told_in_lines(tmp_path: Path) -> None:
    files.write_json(
        folder(tmp_path, process=own()) / "metrics.json",
        {
            "seconds": {},
            "tasks": {
                "xbd/disaster": {
                    "primary": "accuracy",
                    "stages": {
                        "base": {"metrics": {"accuracy": 0.06}},
                        "sft": {"metrics": {"accuracy": 0.94}},
                    },
                }
            },
        },
    )
    ended = inside.geovlm("watch", tmp_path, "--once")
    assert ended.stdout.splitlines() == [
        f"{tmp_path}: running after 2:10",
        "stage 2 of 2 (grpo): step 5 of 12; 41 %, 3:10 left in all",
        "done: stage 1 of 2 (sft): 9 steps in 1:02; 1:30 in all",
        "reward: xbd/disaster 0.900, in the last step 0.950",
        "groups without signal: 12 %, in the last step 25 %",
        "health: 1-grpo, step 3: kl_blowup, median KL 2.00",
        "memory: process 1.9 GiB, GPU 12.3 of 79.6 GiB at most",
        "score: xbd/disaster accuracy, base 0.060, sft 0.940",
    ]


def test_a_guess_is_called_one(tmp_path: Path) -> None:
    ended = inside.geovlm("watch", folder(tmp_path, process=own(), eta_is_guess=True), "--once")
    assert "41 %, 3:10 left in all (a guess)\n" in ended.stdout


def test_a_pipe_gets_a_line_per_news_until_the_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_LOOK_S", 0.05)
    path = folder(tmp_path, process=own())
    end = threading.Timer(0.5, lambda: folder(tmp_path, process=own(), state="stopped", beat=10))
    end.start()
    ended = inside.geovlm("watch", path)
    end.join()
    assert ended.returncode == 3
    lines = ended.stdout.splitlines()
    assert lines[0] == (
        f"{path}: running after 2:10; stage 2 of 2 (grpo): step 5 of 12, "
        "reward xbd/disaster 0.90, no signal 12 %; 41 %, 3:10 left in all"
    )
    assert lines[1] == f"{path}: stopped after 2:10"
    assert lines[-1] == f"to continue: geovlm run --resume --output {path}"


def test_json_has_one_object_per_line_until_the_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_LOOK_S", 0.05)
    path = folder(tmp_path, process=own())
    end = threading.Timer(0.5, lambda: folder(tmp_path, process=own(), state="done", beat=10))
    end.start()
    ended = inside.geovlm("watch", path, "--json")
    end.join()
    found = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [each["state"] for each in found] == ["running", "done"]
    assert ended.returncode == 0


def test_watching_writes_nothing(tmp_path: Path) -> None:
    path = folder(tmp_path, process=own())
    before = {each.name: each.stat().st_mtime_ns for each in path.iterdir()}
    look(path)
    assert {each.name: each.stat().st_mtime_ns for each in path.iterdir()} == before


def test_a_terminal_gets_a_bar_until_the_run_ends(tmp_path: Path) -> None:
    path = folder(tmp_path, process=own())
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    watched = subprocess.Popen(
        [sys.executable, "-m", "geovlm.cli", "watch", str(path)],
        stdout=theirs,
        env=os.environ | {"TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    while "━".encode() not in shown:  # a watch that shows none ends with an OSError
        shown += os.read(ours, 65_536)
    folder(path, process=own(), state="done", beat=10)
    with contextlib.suppress(OSError):  # the other end is closed
        while data := os.read(ours, 65_536):
            shown += data
    os.close(ours)
    assert watched.wait(timeout=60) == 0
    assert "step 5 of 12" in shown.decode()
    assert f"{path}: done after 2:10" in shown.decode()
