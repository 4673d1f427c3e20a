"""Launchers that read each other's heartbeats on a shared file system."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path

import pytest

from geovlm.errors import ConfigError, RunFailedError, StoppedError
from geovlm.run import files
from geovlm.run.folder import RunDir
from geovlm.run.heartbeat import Heartbeat
from geovlm.run.machines import Machine
from geovlm.run.stopping import StopRequest


def at(folder: Path, rank: int, *, count: int = 2, timeout_s: float = 20.0) -> Heartbeat:
    machine = Machine(rank=rank, count=count, host="127.0.0.1", port=29500)
    return Heartbeat(RunDir(folder), machine, timeout_s=timeout_s)


def other_machine(
    folder: Path, work, **kwargs
) -> tuple[threading.Thread, list[BaseException | None]]:
    """Machine 1 in a thread: does `work(heartbeat)`; how it ended stands in the list."""
    ended: list[BaseException | None] = []

    def run() -> None:
        try:
            with at(folder, 1, **kwargs) as heartbeat:
                work(heartbeat)
        except RunFailedError as error:
            ended.append(error)
        else:
            ended.append(None)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, ended


def written(folder: Path, rank: int) -> dict:
    return json.loads((folder / "machines" / f"{rank}.json").read_text())


def test_two_machines_meet_and_both_end_well(tmp_path):
    thread, ended = other_machine(tmp_path, lambda m: m.wait(lambda: m.read(0, "planned") is True))
    with at(tmp_path, 0) as first:
        first.wait_for_all()
        first.publish(planned=True)
        thread.join(timeout=30)
    assert ended == [None]
    assert [written(tmp_path, rank)["state"] for rank in (0, 1)] == ["done", "done"]


def test_a_failure_ends_the_other_machine_with_its_message(tmp_path):
    thread, ended = other_machine(tmp_path, lambda m: m.wait(lambda: False))
    with pytest.raises(ConfigError), at(tmp_path, 0) as first:
        first.wait_for_all()
        raise ConfigError("no such data", hint="look there")
    thread.join(timeout=30)
    assert "machine 0 (" in str(ended[0])
    assert "failed: no such data (look there)" in str(ended[0])


def test_a_machine_that_stands_still_is_lost_within_the_timeout(tmp_path):
    with at(tmp_path, 0, timeout_s=1.0) as first:
        record = {"attempt": first._record["attempt"], "beat": 3, "state": "running", "host": "b"}
        (tmp_path / "machines" / "1.json").write_text(json.dumps(record))
        first.wait_for_all()
        started = time.monotonic()
        with pytest.raises(RunFailedError, match=r"machine 1 \(b\) has sent no heartbeat for"):
            first.wait(lambda: False)
        assert 0.9 < time.monotonic() - started < 10
        with pytest.raises(RunFailedError, match="no heartbeat"):
            first.explain_failure()


def test_a_failed_stage_is_its_own_where_the_other_machine_lives(tmp_path):
    over = threading.Event()
    thread, ended = other_machine(tmp_path, lambda m: over.wait(30), timeout_s=2.0)
    with at(tmp_path, 0, timeout_s=2.0) as first:
        first.wait_for_all()
        first.explain_failure()
        over.set()
        thread.join(timeout=30)
    assert ended == [None]


def test_a_machine_that_never_comes_is_named(tmp_path):
    with (
        at(tmp_path, 0, timeout_s=0.5) as first,
        pytest.raises(RunFailedError, match="machine 1 did not start within"),
    ):
        first.wait_for_all()


def test_what_an_earlier_attempt_left_is_no_sign_of_life(tmp_path):
    with at(tmp_path, 0, count=1):
        pass
    with (
        pytest.raises(RunFailedError, match="machine 0 has not started a run in"),
        at(tmp_path, 1, timeout_s=0.5),
    ):
        pass


def test_facts_of_another_attempt_are_not_heard(tmp_path):
    (tmp_path / "machines").mkdir()
    old = {"attempt": "old", "beat": 1, "state": "done", "host": "b", "vllm": 2}
    (tmp_path / "machines" / "1.json").write_text(json.dumps(old))
    with at(tmp_path, 0) as first:
        assert first.read(1, "vllm") is None
        assert first.read(0, "state") == "running"


def test_a_stop_that_one_machine_is_asked_for_is_asked_for_on_the_other(tmp_path):
    asked, heard = StopRequest(worker="w"), StopRequest(worker="w")
    asked.signal = signal.SIGINT

    def shared(heartbeat: Heartbeat) -> bool:
        heartbeat.share_stop(heard)
        return heard.signal is not None

    thread, ended = other_machine(tmp_path, lambda m: m.wait(lambda: shared(m)))
    with at(tmp_path, 0) as first:
        first.wait_for_all()
        first.share_stop(asked)
        thread.join(timeout=30)
    assert ended == [None]
    assert heard.signal == signal.SIGTERM
    assert asked.signal == signal.SIGINT


@pytest.mark.parametrize("waits", [False, True], ids=["no ranks", "torchrun's second"])
def test_whoever_waits_for_a_machine_that_was_stopped_is_stopped_too(tmp_path, waits):
    ended: list[StoppedError] = []
    other = Machine(rank=0 if waits else 1, count=2, host="h", port=1, waits=waits)

    def wait() -> None:
        try:
            with Heartbeat(RunDir(tmp_path), other, timeout_s=20.0) as heartbeat:
                heartbeat.wait(lambda: False)
        except StoppedError as error:
            ended.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    with pytest.raises(StoppedError, match="saved"), at(tmp_path, 0) as first:
        if waits:
            time.sleep(2.5)  # it writes nothing, so that nobody can see when it has come
        else:
            first.wait_for_all()
        raise StoppedError("stage 0-sft: saved at step 2 of 6")
    thread.join(timeout=30)
    assert [error.exit_code for error in ended] == [0]
    assert "machine 0 (" in str(ended[0])
    assert "was stopped" in str(ended[0])


def test_a_heartbeat_that_cannot_be_written_is_not_the_last_one(tmp_path, monkeypatch):
    with at(tmp_path, 0, timeout_s=2.0) as only:
        with monkeypatch.context() as patch:
            patch.setattr(files, "write_text", _full)
            time.sleep(0.7)
        before = written(tmp_path, 0)["beat"]
        time.sleep(0.7)
        assert written(tmp_path, 0)["beat"] > before
        assert only.read(0, "state") == "running"


def _full(path: Path, text: str, **_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_process_that_only_waits_writes_nothing(tmp_path):
    machine = Machine(rank=0, count=1, waits=True, local_processes=2)
    with at(tmp_path, 0, count=1) as first:
        threading.Timer(0.5, lambda: first.publish(planned=True)).start()
        before = written(tmp_path, 0)
        with Heartbeat(RunDir(tmp_path), machine, timeout_s=20.0) as waiting:
            waiting.wait(lambda: waiting.read(0, "planned") is True)
    assert written(tmp_path, 0)["attempt"] == before["attempt"]
    assert [path.name for path in (tmp_path / "machines").iterdir()] == ["0.json"]
