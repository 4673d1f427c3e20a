from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from geovlm.config import load
from geovlm.errors import ConfigError, GeoVLMError, RunFailedError, StoppedError
from geovlm.run import devices, files, launch
from geovlm.run.folder import RunDir
from geovlm.run.machines import Machine
from geovlm.run.parallel import Layout
from geovlm.run.process import Outcome, execute
from geovlm.run.stopping import StopRequest
from geovlm.run.vllm.stage import Server

WORKER = """
import argparse, json, os, sys
parser = argparse.ArgumentParser()
parser.add_argument("--run"); parser.add_argument("--stage")
parser.add_argument("--resume", action="store_true")
args = parser.parse_args()
if args.stage == "impossible":
    print("talk", file=sys.stderr)
    print("error: cannot (do this)", file=sys.stderr, flush=True)
    sys.exit(2)
if args.stage == "failed":
    print("error: did not work", file=sys.stderr, flush=True)
    sys.exit(1)
if args.stage == "bug":
    raise ZeroDivisionError("boom")
if args.stage == "killed":
    os.kill(os.getpid(), 9)
from accelerate import PartialState
state = PartialState(cpu=True)
path = f"{args.run}/rank{state.process_index}.json"
json.dump([state.num_processes, os.environ["OMP_NUM_THREADS"]], open(path, "w"))
"""


def ranks(n: int) -> Layout:
    return Layout(machine=Machine(), world_size=n, machines=1, local=n)


def start(folder: Path, stage: str, *, processes: int = 1, launcher: bool = True) -> Outcome:
    (folder / "tiny_worker.py").write_text(WORKER)
    yaml = folder / "accelerate.yaml" if launcher else None
    if yaml is not None:
        text = launch.accelerate_config(ranks(processes), on_cpu=True, port=launch.free_port())
        yaml.write_text(text)
    variables = launch.environment(processes, on_cpu=True) | {"PYTHONPATH": str(folder)}
    argv = launch.command(yaml, run=folder, stage=stage, module="tiny_worker")
    return execute(argv, variables=variables, log=folder / "stderr.txt")


def test_one_process_is_one_rank(tmp_path):
    assert start(tmp_path, "0", launcher=False).status == 0
    assert json.loads((tmp_path / "rank0.json").read_text())[0] == 1
    assert not (tmp_path / "rank1.json").exists()


@pytest.mark.slow
def test_two_processes_are_two_ranks_that_share_the_cores(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)))
    assert start(tmp_path, "0", processes=2).status == 0
    ranks = [json.loads((tmp_path / f"rank{i}.json").read_text()) for i in (0, 1)]
    assert ranks == [[2, "3"], [2, "3"]]


both_ways = pytest.mark.parametrize("launcher", [True, False])


@both_ways
def test_an_impossible_request_is_one_line_without_the_launchers_traceback(
    tmp_path, capsys, launcher
):
    outcome = start(tmp_path, "impossible", launcher=launcher)
    assert (outcome.status, outcome.error) == (2, "cannot (do this)")
    assert capsys.readouterr().err == "talk\n"
    assert ("CalledProcessError" in (tmp_path / "stderr.txt").read_text()) == launcher


@pytest.mark.slow
def test_the_status_of_two_ranks_is_the_workers(tmp_path):
    outcome = start(tmp_path, "impossible", processes=2)
    assert (outcome.status, outcome.error) == (2, "cannot (do this)")


def test_failed_work_is_status_1(tmp_path):
    outcome = start(tmp_path, "failed", launcher=False)
    assert (outcome.status, outcome.error) == (1, "did not work")


def test_a_bug_shows_its_traceback(tmp_path, capsys):
    outcome = start(tmp_path, "bug", launcher=False)
    assert (outcome.status, outcome.error) == (1, "")
    assert "ZeroDivisionError: boom" in capsys.readouterr().err


@both_ways
def test_a_killed_worker_has_a_negative_status(tmp_path, launcher):
    assert start(tmp_path, "killed", launcher=launcher).status == -signal.SIGKILL


def test_statuses_become_the_errors_of_the_command_line(tmp_path):
    log = tmp_path / "stderr.txt"
    launch.raise_for(Outcome(0, ""), name="0-sft", log=log)
    with pytest.raises(GeoVLMError, match=r"^cannot$") as impossible:
        launch.raise_for(Outcome(2, "cannot"), name="0-sft", log=log)
    assert impossible.value.exit_code == 2
    with pytest.raises(RunFailedError, match=r"^flat$"):
        launch.raise_for(Outcome(1, "flat"), name="0-sft", log=log)
    with pytest.raises(RunFailedError, match="0-sft was killed by SIGKILL"):
        launch.raise_for(Outcome(-9, ""), name="0-sft", log=log)
    with pytest.raises(RunFailedError, match=r"rank 3 of .* SIGABRT \(NCCL .* timeout_s"):
        launch.raise_for(Outcome(-6, "", rank=3), name="0-sft", log=log)
    with pytest.raises(RunFailedError, match="0-sft failed with exit status 1"):
        launch.raise_for(Outcome(1, ""), name="0-sft", log=log)


def test_ending_the_launcher_ends_children_in_sessions_of_their_own(tmp_path):
    child = tmp_path / "child.py"
    child.write_text(
        "import subprocess, sys, time\n"
        "one = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],\n"
        "                       start_new_session=True)\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(one.pid))\n"
        "time.sleep(60)\n"
    )
    code = (
        "import os, sys; from pathlib import Path; from geovlm.run.process import execute;"
        f"execute([sys.executable, {str(child)!r}], variables=dict(os.environ),"
        f" log=Path({str(tmp_path / 'log')!r}))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    pid = int(_wait_for(tmp_path / "pid"))
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(timeout=30) == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def _wait_for(path: Path) -> str:
    deadline = time.monotonic() + 30
    while not (path.is_file() and path.read_text()):
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)
    return path.read_text()


def test_a_configuration_file_says_how_many_processes_and_where():
    text = launch.accelerate_config(ranks(2), on_cpu=True, port=1234)
    assert "distributed_type: MULTI_GPU\n" in text
    assert "use_cpu: true\n" in text
    assert "num_processes: 2\n" in text
    assert "distributed_type: 'NO'\n" in launch.accelerate_config(ranks(1), on_cpu=False, port=1)


def test_resume_is_passed_on():
    argv = launch.command(Path("a.yaml"), run=Path("r"), stage="0", resume=True)
    assert argv[:4] == [sys.executable, "-P", "-m", "accelerate.commands.launch"]
    assert argv[-5:] == ["--run", "r", "--stage", "0", "--resume"]


def test_only_one_whole_process_needs_no_launcher():
    argv = launch.command(None, run=Path("r"), stage="eval")
    assert argv == [sys.executable, "-P", "-m", launch.WORKER, "--run", "r", "--stage", "eval"]
    assert launch.is_alone(ranks(1), scheme="ddp")
    assert not launch.is_alone(ranks(2), scheme="ddp")
    assert not launch.is_alone(ranks(1), scheme="zero2")
    one_of_two = Layout(machine=Machine(rank=1, count=2), world_size=2, machines=2, local=1)
    assert not launch.is_alone(one_of_two, scheme="ddp")


def test_waiting_threads_sleep_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert launch.environment(1, on_cpu=True)["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert launch.environment(1, on_cpu=True)["OMP_WAIT_POLICY"] == "ACTIVE"


@pytest.mark.parametrize(
    ("given", "used"), [("3", "3"), ("4,2", "4"), ("many", None), ("0", None), ("-1", None)]
)
def test_a_number_of_threads_that_is_none_is_not_passed_on(monkeypatch, given, used):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    own = launch.environment(1, on_cpu=True)["OMP_NUM_THREADS"]
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    assert launch.environment(1, on_cpu=True)["OMP_NUM_THREADS"] == (used or own)


def test_docstrings_are_kept_for_transformers(monkeypatch):
    monkeypatch.setenv("PYTHONOPTIMIZE", "2")
    assert "PYTHONOPTIMIZE" not in launch.environment(1, on_cpu=True)


def test_a_process_sees_no_more_gpus_than_it_has_ranks(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5,7")
    monkeypatch.setattr(devices.installed, "version", lambda name: "2.13.0")
    monkeypatch.setattr(devices, "_listed", lambda: 8)
    assert devices.visible_gpus() == ["3", "5", "7"]
    assert launch.environment(2, on_cpu=False)["CUDA_VISIBLE_DEVICES"] == "3,5"


@pytest.mark.parametrize(
    ("torch", "listed", "named", "seen"),
    [
        ("2.13.0+cpu", 8, "7", []),  # left over from another machine
        ("2.13.0", 1, "7", []),
        ("2.13.0", 2, "1,5,0", ["1"]),  # as CUDA does
        ("2.13.0", 2, "GPU-12ab,0", ["GPU-12ab", "0"]),
        ("2.13.0", None, "7", ["7"]),  # a container without nvidia-smi
        ("2.13.0", 2, None, ["0", "1"]),
        ("2.13.0", None, None, []),
        ("2.13.0", 2, "", []),
    ],
)
def test_only_gpus_that_exist_are_visible(monkeypatch, torch, listed, named, seen):
    monkeypatch.setattr(devices.installed, "version", lambda name: torch)
    monkeypatch.setattr(devices, "_listed", lambda: listed)
    if named is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert devices.visible_gpus() == seen


def test_the_device_is_a_gpu_only_where_there_are_enough():
    config = load.load(None)
    assert devices.device(config, gpus=0) == "cpu"
    assert devices.device(config, gpus=1) == "cuda"
    assert devices.device(load.load(None, overrides=["device=cpu"]), gpus=1) == "cpu"
    with pytest.raises(ConfigError, match="4 GPUs are asked for and 2 are visible"):
        devices.device(load.load(None, gpus=4), gpus=2)
    with pytest.raises(ConfigError, match="none is visible"):
        devices.device(load.load(None, gpus=1), gpus=0)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_vllm_server_may_end_with_a_run_that_is_stopped(tmp_path, monkeypatch, stopped):
    """Slurm sends SIGTERM to every process of a job; the ranks still have to save."""
    run = RunDir(tmp_path)
    config = load.load(None, overrides=["device=cpu"])
    files.write_json(run.resolved, {"stage_folders": config.stage_folders()})

    def gone() -> None:
        raise RunFailedError("the vLLM server ended")

    @contextlib.contextmanager
    def serve(*_, **__):
        yield Server({}, gone)

    def executed(*_, check, **__) -> Outcome:
        check()
        return Outcome(0, "", stopped="saved at step 3 of 9")

    monkeypatch.setattr(launch.vllm_stage, "serve", serve)
    monkeypatch.setattr(launch, "execute", executed)
    stop = StopRequest(worker="w")
    stop.signal = signal.SIGTERM if stopped else None
    expected = StoppedError if stopped else RunFailedError
    with pytest.raises(expected):
        launch.run_stage(run, config=config, index=2, resume=False, stop=stop)


def test_stages_that_are_done_are_skipped(tmp_path, monkeypatch):
    run = RunDir(tmp_path)
    config = load.load(None, overrides=["device=cpu"])
    files.write_json(run.resolved, {"stage_folders": config.stage_folders()})
    files.write_json(run.stage(0) / "done.json", {})
    called = []

    def fake(run, *, config, index, resume, stop, heartbeat):
        called.append((index, resume))
        return 2.0

    monkeypatch.setattr(launch, "run_stage", fake)
    launch.run_stages(run, config=config, resume=True)
    assert called == [(1, True), (2, True)]
    assert set(run.read_metrics()["seconds"]) == {"probe", "grpo"}
