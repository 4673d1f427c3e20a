"""`status.json`: what a run counts, estimates and writes while it runs."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest

from geovlm.config import load
from geovlm.errors import RunFailedError, StoppedError
from geovlm.run import files
from geovlm.run.folder import RunDir
from geovlm.run.status import log, meter, words, writer
from geovlm.run.status.display import Display
from geovlm.run.status.ledger import Ledger
from geovlm.run.status.parts import Estimate, Part, StageTime, planned, remaining
from geovlm.run.status.writer import Status

SAMPLES = {"a/b": {"train": 100, "test": 40}, "c/d": {"train": 10, "test": 8}}
RECIPE = """
[[stages]]
kind = "sft"
steps = 10
trainer = {per_device_train_batch_size = 4, gradient_accumulation_steps = 2}
[[stages]]
kind = "probe"
prompts = 6
generations = 4
[[stages]]
kind = "grpo"
epochs = 2
trainer = {per_device_train_batch_size = 16, num_generations = 8}
[eval]
limit = 20
control_limit = 5
samples = 1
"""


@pytest.fixture
def config(tmp_path: Path) -> Any:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return load.load(path, overrides=["device=cpu"])


@pytest.fixture
def run(tmp_path: Path, config: Any) -> RunDir:
    made = RunDir(tmp_path / "run")
    files.write_json(made.resolved, {"stage_folders": config.stage_folders()})
    made.stage(0).mkdir(parents=True)
    return made


def stored(run: RunDir) -> dict[str, Any]:
    found = json.loads((run.path / "status.json").read_text())
    assert isinstance(found, dict)
    return found


def count(name: str, *, done: int, total: int, seconds: float = 0.0, **more: Any) -> dict[str, Any]:
    given = {"unit": "step", "fresh": done, "over": done == total, "detail": "", **more}
    return {"name": name, "done": done, "total": total, "seconds": seconds, **given}


def test_the_parts_of_a_run_are_known_before_it_begins(config: Any) -> None:
    parts = [(each.stage, each.name, each.total, each.exact) for each in planned(config, SAMPLES)]
    assert parts == [
        (0, "evaluate base", 56, True),  # 20 and 8 samples, greedy and sampled
        (0, "train", 10, True),
        (0, "evaluate sft", 56, True),
        (1, "sample", 24, True),  # 6 prompts, 4 answers to each
        (2, "train", 6, False),  # 2 passes over at most 6 prompts, 2 per step
        (2, "evaluate grpo", 76, True),  # and text only and shuffled of 5 samples per task
    ]


def test_an_evaluation_alone_has_one_part() -> None:
    config = load.load(None, overrides=["device=cpu", "stages=[]", "eval.control_limit=4"])
    only = planned(config, {"a/b": {"test": 10}})
    assert [(each.stage, each.name, each.total) for each in only] == [(-1, "evaluate base", 28)]


def part(kind: str, **given: Any) -> Part:
    return Part(stage=given.pop("stage", 0), kind=kind, name=kind, unit="step", **given)


def test_nothing_measured_gives_no_estimate() -> None:
    assert remaining([part("sft", total=10)], {}) == Estimate(None, True)


def test_a_run_whose_parts_are_over_needs_no_measurement() -> None:
    assert remaining([part("sft", total=10, done=10, over=True)], {0: StageTime(0.0, True)}) == (
        Estimate(0.0, False)
    )


def test_what_is_measured_gives_the_time_left() -> None:
    parts = [
        part("eval", total=10, done=10, fresh=10, seconds=20.0, over=True),  # 2 s each
        part("sft", total=8, done=4, fresh=2, seconds=6.0, rows=4),  # 3 s a step, 2 are resumed
        part("eval", total=5),
    ]
    times = {0: StageTime(36.0, False)}  # 10 s outside the parts, of 15 s at a start
    assert remaining(parts, times) == Estimate(4 * 3.0 + 5 * 2.0 + 5.0, False)


def test_what_is_not_measured_is_a_guess() -> None:
    parts = [
        part("eval", total=10, done=10, fresh=10, seconds=10.0, over=True),
        part("grpo", total=2, rows=8, stage=1),
    ]
    left = remaining(parts, {0: StageTime(15.0, True)})  # 5 s outside the part
    assert left == Estimate(2 * 8 * (1.0 + 1.0) + 5.0, True)  # a row: an answer and its training


def test_a_resumed_run_goes_on_from_what_was_counted(config: Any) -> None:
    folders = {0: "0-sft", 1: "1-probe", 2: "2-grpo"}
    first = Ledger(planned(config, SAMPLES), folders=folders)
    first.begin_stage(0)
    first.take([count("evaluate base", done=56, total=56, seconds=5.0)])
    first.take([count("train", done=4, total=10, seconds=8.0)])
    before = {**first.table(), "elapsed_s": 60.0}
    again = Ledger(planned(config, SAMPLES), folders=folders, before=before)
    again.begin_stage(0)
    again.take([count("train", done=5, total=10, seconds=2.0, fresh=1)])
    table = again.table()
    base, train = table["parts"][:2]
    assert (base["over"], base["seconds"]) == (True, 5.0)
    assert (train["done"], train["fresh"], train["seconds"]) == (5, 5, 10.0)
    assert table["elapsed_s"] >= 60.0


def test_a_part_that_is_not_repeated_is_over(config: Any) -> None:
    ledger = Ledger(planned(config, SAMPLES), folders={0: "0-sft"})
    ledger.begin_stage(0)
    ledger.take([count("train", done=1, total=10, seconds=1.0)])
    assert [each["over"] for each in ledger.table()["parts"][:3]] == [True, False, False]


def test_a_run_says_that_it_is_done(run: RunDir, config: Any) -> None:
    with Status(run) as status:
        status.begin(config, SAMPLES, resume=False)
        assert stored(run)["state"] == "running"
    assert (stored(run)["state"], stored(run)["percent"], stored(run)["eta_s"]) == ("done", 100, 0)


def test_a_run_that_never_began_writes_nothing(run: RunDir) -> None:
    with pytest.raises(RunFailedError), Status(run):
        raise RunFailedError("no")
    assert not (run.path / "status.json").exists()


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (RunFailedError("rank 1\nwas lost", hint="look"), "failed", "rank 1 was lost (look)"),
        (StoppedError("saved at step 3"), "stopped", "saved at step 3"),
        (KeyboardInterrupt(), "stopped", "ended at once by a signal"),
        (ZeroDivisionError("boom"), "failed", "ZeroDivisionError: boom"),
    ],
)
def test_a_run_says_how_it_ended(
    run: RunDir, config: Any, error: BaseException, state: str, reason: str
) -> None:
    with pytest.raises(type(error)), Status(run) as status:
        status.begin(config, SAMPLES, resume=False)
        with status.stage(0):
            raise error
    assert stored(run)["state"] == state
    assert stored(run)["reason"].startswith(reason)


def test_a_full_disk_does_not_hide_why_a_run_failed(
    run: RunDir, config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(RunFailedError, match="the real error"), Status(run) as status:
        status.begin(config, SAMPLES, resume=False)
        monkeypatch.setattr(files, "write_text", full)
        with status.stage(0):
            raise RunFailedError("the real error")


def test_the_counter_changes_while_the_run_lives(
    run: RunDir, config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "BEAT_S", 0.05)
    monkeypatch.setattr(writer, "_LOOK_S", 0.02)
    with Status(run) as status:
        status.begin(config, SAMPLES, resume=False)
        first = stored(run)["beat"]
        until(lambda: stored(run)["beat"] > first + 2)


def until(happened: Any) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_a_stage_counts_comes_into_the_state(run: RunDir, config: Any) -> None:
    finding = {"rule": "kl_blowup", "step": 7, "since": 1, "figures": "KL 3", "advice": "lower"}
    rewards = {"a/b": {"last": 0.5, "mean": 0.25}}
    with Status(run) as status:
        status.begin(config, SAMPLES, resume=False)
        with status.stage(0):
            files.JsonLines(run.stage(0) / "health.jsonl").append([finding])
            counted = meter.Meter(run.stage(0) / meter.FILE, memory=lambda: {"process": 1.234})
            counted.begin("train", unit="step", total=10, done=2)
            counted.advance(1)
            counted.note(rewards=rewards, no_signal={"last": 0.1, "mean": 0.2})
            counted.close()
            until(lambda: status.record()["parts"][1]["done"] == 3)
            record = status.record()
    assert record["rewards"] == rewards
    assert record["no_signal"] == {"last": 0.1, "mean": 0.2}
    assert record["memory"] == {"process": 1.23}
    assert record["health"] == [
        {"stage": "0-sft", "rule": "kl_blowup", "step": 7, "figures": "KL 3"}
    ]
    assert words.counted(words.current(record) or {}) == "step 3 of 10"
    assert not (run.stage(0) / meter.FILE).exists()


def test_the_file_stays_small(run: RunDir, config: Any) -> None:
    many = {f"task/{n}": {"last": 0.1, "mean": 0.1} for n in range(5000)}
    with pytest.raises(RunFailedError), Status(run) as status:
        status.begin(config, SAMPLES, resume=False)
        with status.stage(0):
            report = {"pid": 1, "doing": "", "parts": [], "memory": {}}
            report |= {"rewards": many, "no_signal": None}
            (run.stage(0) / meter.FILE).write_text(json.dumps(report))
            raise RunFailedError("x" * 10_000)
    assert len(stored(run)["rewards"]) == 50
    assert (run.path / "status.json").stat().st_size < 10_000


def test_a_meter_scales_its_share_to_all_processes(tmp_path: Path) -> None:
    path = tmp_path / "progress.json"
    counted = meter.Meter(path)
    counted.begin("evaluate base", unit="answer", total=10, scale=2.0)
    counted.advance(2, fresh=False)
    counted.advance(2)
    counted.end(then="scoring")
    counted.close()
    made = json.loads(path.read_text())
    (only,) = made["parts"]
    assert (only["done"], only["fresh"], only["over"], made["doing"]) == (8, 4, True, "scoring")


def test_a_meter_writes_at_most_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []
    monkeypatch.setattr(files, "write_text", lambda *given, **_: written.append(given))
    counted = meter.Meter(tmp_path / "progress.json")
    counted.begin("train", unit="step", total=1000)
    for _ in range(1000):
        counted.advance(1)
    counted.close()
    assert 1 <= len(written) <= 2
    assert json.loads(written[-1][1])["parts"][0]["done"] == 1000


def test_plain_lines_go_to_the_log_of_the_stage(
    run: RunDir, config: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with Status(run, listen=Display(run)) as status:
        status.begin(config, SAMPLES, resume=False)
        with status.stage(0):
            counted = meter.Meter(run.stage(0) / meter.FILE)
            counted.begin("evaluate base", unit="answer", total=4, detail="2 samples, twice")
            counted.advance(4)
            counted.end(then="scoring")
            counted.close()
            until(lambda: status.record()["parts"][0]["over"])
    line = "stage 1 of 3 (sft): evaluation of base, 4 answers in 0:00 (2 samples, twice)\n"
    assert line in capsys.readouterr().err
    assert line in (run.stage(0) / "stderr.txt").read_text()


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (190.4, "3:10"), (3790, "1:03:10"), (90_000, "25:00:00")]
)
def test_a_duration_is_short(seconds: float, shown: str) -> None:
    assert words.clock(seconds) == shown


class Kept(io.FileIO):
    """A file in the memory of this process."""

    def __init__(self) -> None:
        self.kept = b""

    def write(self, data: Any) -> int:
        self.kept += bytes(data)
        return len(data)


def logged(*pieces: bytes) -> bytes:
    file = Kept()
    made = log.Log(file)
    for each in pieces:
        made.feed(each)
    made.close()
    return file.kept


def test_the_log_has_the_last_state_of_a_line_that_was_redrawn() -> None:
    frames = b"".join(b"\r\x1b[2K%d of 300" % n for n in range(300))
    assert logged(b"begin\n", frames[:1000], frames[1000:], b"\r\x1b[2Kall 300\n") == (
        b"begin\nall 300\n"
    )


def test_the_log_has_no_frames_of_a_bar_of_several_lines() -> None:
    frame = b"\r\x1b[2K\x1b[1A\x1b[2Kone\r\ntwo"
    assert logged(b"one\ntwo", frame * 50, b"\r\nend\n") == b"one\ntwo\nend\n"


def test_the_log_has_a_line_of_a_long_bar_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(0, 10_000, 25))
    monkeypatch.setattr(log.time, "monotonic", lambda: float(next(ticks)))
    assert logged(b"0\r1\r2\r3\r4\r5\r6\r7\n").decode().split() == ["3", "6", "7"]


def test_the_log_keeps_lines_whole_and_their_words() -> None:
    assert logged(b"half ", b"a line\r", b"\nand \x1b[31mred\x1b", b"[0m\r\n", b"no end") == (
        b"half a line\nand red\nno end\n"
    )
