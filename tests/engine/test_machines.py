"""Runs on two 'machines' of loopback: two launchers, one process each; one is killed or stopped."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from geovlm.run.launch import free_port
from tests.engine.faults import kill_tree

CONFIG = """
tasks = ["xbd/count"]
processes = 1
machine_timeout_s = 15

[sample]
records = 8

[[stages]]
kind = "sft"
steps = 47
[stages.trainer]
per_device_train_batch_size = 4
save_steps = 24  # the kill comes after step 24; then a stop alone saves
logging_steps = 1
learning_rate = 1e-3
gradient_checkpointing = false

[eval]
limit = 4
resamples = 10
base = false
blind = "off"
"""


def launchers(folder: Path, *extra: str) -> list[subprocess.Popen[str]]:
    """Both launchers of a run in `folder`; what they say is in `<rank>.txt`."""
    (folder / "run.toml").write_text(CONFIG)
    address = f"127.0.0.1:{free_port()}"
    started = []
    for rank in (0, 1):
        argv = [sys.executable, "-m", "geovlm.cli", "run", str(folder / "run.toml")]
        argv += ["--output", str(folder / "run"), "--machines", "2", "--machine-rank", str(rank)]
        started.append(start([*argv, "--main-address", address, *extra], folder, rank))
    return started


def start(argv: list[str], folder: Path, rank: int) -> subprocess.Popen[str]:
    """Start a command; what it says is in `<rank>.txt`."""
    with (folder / f"{rank}.txt").open("w") as said:
        return subprocess.Popen(argv, stdout=said, stderr=said, text=True)


def wait_for(happened: Callable[[], Any], both: list[subprocess.Popen[str]], folder: Path) -> None:
    """Wait for a moment of a run of both launchers."""
    deadline = time.monotonic() + 500
    while not happened():
        for rank, each in enumerate(both):
            assert each.poll() is None, (folder / f"{rank}.txt").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def said(folder: Path) -> list[str]:
    """The messages of each launcher since its last start."""
    return [(folder / f"{rank}.txt").read_text() for rank in (0, 1)]


def logged_steps(run: Path) -> list[int]:
    """The steps of SFT whose loss is in the log."""
    text = (run / "stages" / "0-sft" / "log.jsonl").read_text()
    records = map(json.loads, text[: text.rfind("\n") + 1].splitlines())
    return [record["step"] for record in records if "loss" in record]


def kill_one(folder: Path) -> None:
    """Begin the run and kill machine 1 after a checkpoint."""
    first, second = launchers(folder)
    stage = folder / "run" / "stages" / "0-sft"
    wait_for(
        lambda: list(stage.glob("checkpoints/checkpoint-*/manifest.json")), [first, second], folder
    )
    kill_tree(second.pid)
    second.wait()
    killed = time.monotonic()
    assert first.wait(timeout=120) == 1
    assert time.monotonic() - killed < 60  # 15 s without a heartbeat, and the ends of processes
    assert "error: machine 1 (" in said(folder)[0]
    assert "has sent no heartbeat for 15 s (start the same command with --resume" in said(folder)[0]
    assert not (stage / "done.json").exists()


def stop_one(folder: Path, *, rank: int, number: signal.Signals) -> None:
    """Resume the run and send a signal to one machine after some steps: both save."""
    run = folder / "run"
    before = len(logged_steps(run))
    both = launchers(folder, "--resume")
    wait_for(lambda: len(logged_steps(run)) > before, both, folder)
    both[rank].send_signal(number)
    statuses = [each.wait(timeout=300) for each in both]
    # Ctrl-C is answered as by any command; SIGTERM, and a stop of another machine, by 0: requeue me
    expected = [0, 0]
    expected[rank] = 130 if number == signal.SIGINT else 0
    assert statuses == expected, said(folder)
    assert "stopping after this step or batch, as another machine does" in said(folder)[1 - rank]
    for each in said(folder):
        saved = re.search(r"stopped: stage 0-sft: saved at step (\d+)", each)
        assert saved, each
        checkpoint = run / "stages" / "0-sft" / "checkpoints" / f"checkpoint-{saved[1]}"
        assert (checkpoint / "manifest.json").is_file()
    states = [json.loads((run / "machines" / f"{each}.json").read_text()) for each in (0, 1)]
    assert [each["state"] for each in states] == ["stopped", "stopped"]


@pytest.mark.faults
@pytest.mark.timeout(1500)
def test_what_ends_one_machine_ends_the_other_and_both_resume(tmp_path: Path) -> None:
    kill_one(tmp_path)
    stop_one(tmp_path, rank=1, number=signal.SIGTERM)
    stop_one(tmp_path, rank=0, number=signal.SIGINT)
    both = launchers(tmp_path, "--resume")
    assert [each.wait(timeout=600) for each in both] == [0, 0], said(tmp_path)
    run = tmp_path / "run"
    done = json.loads((run / "stages" / "0-sft" / "done.json").read_text())
    assert (done["world_size"], done["steps"]) == (2, 47)
    assert logged_steps(run) == list(range(1, 48))
    scores = json.loads((run / "metrics.json").read_text())["tasks"]
    assert scores["xbd/count"]["stages"]["sft"]["n"] == 4
