"""A run on two 'machines' of loopback: two launchers, one process each; one of them is killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.engine.test_run import _tree

CONFIG = """
tasks = ["xbd/count"]
processes = 1
machine_timeout_s = 15

[sample]
records = 8

[[stages]]
kind = "sft"
steps = 6
[stages.trainer]
per_device_train_batch_size = 4
save_steps = 2
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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = []
    for rank in (0, 1):
        argv = [sys.executable, "-m", "geovlm.cli", "run", str(folder / "run.toml")]
        argv += ["--output", str(folder / "run"), "--machines", "2", "--machine-rank", str(rank)]
        argv += ["--main-address", f"127.0.0.1:{port}", *extra]
        with (folder / f"{rank}.txt").open("w") as said:
            started.append(subprocess.Popen(argv, stdout=said, stderr=said, text=True))
    return started


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_killed_machine_ends_the_other_and_both_resume(tmp_path: Path) -> None:
    first, second = launchers(tmp_path)
    checkpoints = tmp_path / "run" / "stages" / "0-sft" / "checkpoints"
    deadline = time.monotonic() + 500
    while not list(checkpoints.glob("checkpoint-*/manifest.json")):
        assert first.poll() is None, (tmp_path / "0.txt").read_text()
        assert second.poll() is None, (tmp_path / "1.txt").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for pid in _tree(second.pid):
        os.kill(pid, signal.SIGKILL)
    second.wait()
    killed = time.monotonic()
    assert first.wait(timeout=120) == 1
    assert time.monotonic() - killed < 60  # 15 s without a sign of life, and the ends of processes
    said = (tmp_path / "0.txt").read_text()
    assert "error: machine 1 (" in said
    assert "has given no sign of life for 15 s (start the same command with --resume" in said
    assert not (tmp_path / "run" / "stages" / "0-sft" / "done.json").exists()

    both = launchers(tmp_path, "--resume")
    assert [each.wait(timeout=600) for each in both] == [0, 0], (tmp_path / "0.txt").read_text()
    done = json.loads((tmp_path / "run" / "stages" / "0-sft" / "done.json").read_text())
    assert (done["world_size"], done["steps"]) == (2, 6)
    log = (tmp_path / "run" / "stages" / "0-sft" / "log.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in log if "loss" in json.loads(line)]
    assert steps == [1, 2, 3, 4, 5, 6]
    scores = json.loads((tmp_path / "run" / "metrics.json").read_text())["tasks"]
    assert scores["xbd/count"]["stages"]["sft"]["n"] == 4
