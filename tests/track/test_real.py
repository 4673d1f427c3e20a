"""One run with trackio, wandb offline, tensorboard and mlflow, stopped after SFT and resumed.

What the trackers hold is compared with the files of the run. Nothing is sent anywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from geovlm.run.tracking import processes
from tests import inside
from tests.track import read_back
from tests.track.read_back import Values

pytestmark = [pytest.mark.track, pytest.mark.timeout(1800)]

TASKS = ["xbd/disaster", "xbd/refer"]
SECRET = "hf_not_for_others"
SETTINGS = [
    "device=cpu",
    "sample.records=8",
    "stages.0.steps=6",
    f"stages.0.trainer.hub_token={SECRET}",
    "stages.1.prompts=4",
    "stages.1.on_fail=warn",
    "stages.1.keep_flat=1.0",
    "stages.2.steps=2",
    "stages.2.trainer.per_device_train_batch_size=16",
    "stages.2.trainer.max_completion_length=24",
    "max_new_tokens=48",
    "eval.limit=4",
    "eval.resamples=10",
]


class Tracked(NamedTuple):
    """The run and the places of its trackers."""

    run: Path
    trackio: Path
    mlflow: str
    first: str
    """What the part before the stop said."""
    second: str

    def values(self) -> Values:
        """Return what the run's logs and metrics hold, under the names that trackers show."""
        found: Values = {}
        for name, folder, before in (("sft", "0-sft", 0), ("grpo", "2-grpo", 6)):
            log = self.run / "stages" / folder / "log.jsonl"
            for line in log.read_text().splitlines():
                record = json.loads(line)
                step = before + record.pop("step")
                found |= {(step, f"{name}/{key}"): v for key, v in record.items() if v is not None}
        metrics = json.loads((self.run / "metrics.json").read_text())["tasks"]
        for task in TASKS:
            for stage, step in (("base", 0), ("sft", 6), ("grpo", 8)):
                entry = metrics[task]["stages"][stage]
                found |= {
                    (step, f"eval/{task}/{metric}"): value
                    for metric, value in entry["metrics"].items()
                    if value is not None
                }
                found[step, f"eval/{task}/sampled_reward"] = entry["sampled_reward"]
            primary = metrics[task]["primary"]
            low, high = metrics[task]["stages"]["grpo"]["ci95"][primary]
            found[8, f"eval/{task}/{primary}_low"] = low
            found[8, f"eval/{task}/{primary}_high"] = high
            without = metrics[task]["blind"]["shuffled"]["metrics"][primary]
            found[8, f"blind/{task}/shuffled/{primary}"] = without
        return found


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    folder = tmp_path_factory.mktemp("tracked")
    environment = {
        "TRACKIO_DIR": str(folder / "trackio"),
        "WANDB_MODE": "offline",
        "WANDB_CONFIG_DIR": str(folder / "config"),
        "MLFLOW_TRACKING_URI": (folder / "mlruns").as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "HF_HUB_OFFLINE": "1",
    }
    run = folder / "first"
    settings = [part for each in SETTINGS for part in ("--set", each)]
    track = ("--track", "trackio,wandb,tensorboard,mlflow")
    given = ("run", "--tasks", ",".join(TASKS), "--output", run, *settings, *track)
    with pytest.MonkeyPatch.context() as patch:
        # for a machine with much else to do
        patch.setattr(processes, "_PATIENCE_S", dict.fromkeys(("done", "failed", "stopped"), 300.0))
        stopped = inside.geovlm(*given, until="2", **environment)
        assert stopped.returncode == 0, stopped.stderr
        done = inside.geovlm("run", "--resume", "--output", run, **environment)
        assert done.returncode == 0, done.stderr
    uri = environment["MLFLOW_TRACKING_URI"]
    return Tracked(run, folder / "trackio", uri, stopped.stderr, done.stderr)


@pytest.fixture(scope="module")
def approximately(tracked: Tracked) -> Callable[[Values], dict[tuple[int, str], Any]]:
    """Return the expected values among those of a tracker, to compare with `tracked.values()`."""
    expected = tracked.values()

    def chosen(found: Values) -> dict[tuple[int, str], Any]:
        # float32 in event files: 24 bits
        return {key: pytest.approx(found.get(key), rel=2e-7, abs=1e-12) for key in expected}

    return chosen


def test_no_tracker_failed_and_none_is_behind(tracked: Tracked) -> None:
    assert "warning: track" not in tracked.first + tracked.second
    positions = {
        path.stem: json.loads(path.read_text())
        for path in (tracked.run / "tracking").glob("*.json")
    }
    assert sorted(positions) == ["mlflow", "tensorboard", "trackio", "wandb"]
    assert {(each["step"], each["pictures"]) for each in positions.values()} == {(8, "grpo")}


def test_trackio_has_one_run_with_every_value(tracked: Tracked, approximately: Any) -> None:
    rows, configs = read_back.trackio(tracked.trackio, "geovlm")
    assert tracked.values() == approximately(read_back.numbers(rows))
    assert {config["name"] for config in configs} == {"first"}
    assert configs[0]["_Group"] == "xbd-disaster_xbd-refer"
    assert configs[0]["versions"]["trl"]
    steps = [row.step for row in rows]
    assert steps == sorted(steps)
    names = [name for row in rows for name in row.values if name.startswith("samples/")]
    assert names == [f"samples/{number}" for number in range(1, 9)]
    assert len(list(tracked.trackio.glob("media/**/*.png"))) == 8
    caption = next(row.values["samples/1"]["caption"] for row in rows if "samples/1" in row.values)
    assert re.fullmatch(
        r"xbd/disaster \S+\nquestion: Which type .*\nanswer: (.|\n)+\ntruth: \w+", caption
    )


def test_wandb_has_one_run_with_every_value(tracked: Tracked, approximately: Any) -> None:
    files = sorted(tracked.run.glob("wandb/offline-run-*/*.wandb"))
    read = [read_back.wandb(file) for file in files]
    rows = [row for found, _ in read for row in found]
    assert tracked.values() == approximately(read_back.numbers(rows))
    assert len({about["id"] for _, about in read}) == 1
    assert [about["name"] for _, about in read] == ["first", "first"]
    assert read[0][1]["project"] == "geovlm"
    assert read[0][1]["stages"]["2-grpo"]["steps"] == 2
    steps = [row.step for row in rows]
    assert steps == sorted(steps)
    (shown,) = (row.values for row in rows if "samples/count" in row.values)
    assert len(shown["samples/filenames"]) == len(shown["samples/captions"]) == 8


def test_tensorboard_has_every_value(tracked: Tracked, approximately: Any) -> None:
    scalars, images, texts = read_back.tensorboard(tracked.run / "tensorboard")
    assert tracked.values() == approximately(scalars)
    assert sorted(images) == [f"samples/{number}" for number in range(1, 9)]
    assert "truth: " in texts["samples/8"]
    assert '"task_names"' in texts["configuration"]


def test_mlflow_has_one_run_with_every_value(tracked: Tracked, approximately: Any) -> None:
    values, (run,), files = read_back.mlflow(tracked.mlflow, "geovlm")
    renamed = {
        (step, re.sub("^grpo/reward/all$", "grpo/reward", n)): v for (step, n), v in values.items()
    }
    assert tracked.values() == approximately(renamed)
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert run.data.params["stages/0-sft/steps"] == "6"
    assert len(files) == 16


def test_each_task_has_its_reward_and_the_share_with_signal_is_there(tracked: Tracked) -> None:
    rows, _ = read_back.trackio(tracked.trackio, "geovlm")
    log = (tracked.run / "stages" / "2-grpo" / "completions.jsonl").read_text().splitlines()
    by_task: dict[str, list[float]] = {}
    for record in map(json.loads, log):
        if record["step"] == 0:  # before the update, so this is step 1
            by_task.setdefault(record["task"], []).append(record["reward"])
    (first,) = (row.values for row in rows if row.step == 7 and "grpo/reward" in row.values)
    expected = {f"grpo/reward/{task}": sum(v) / len(v) for task, v in by_task.items()}
    assert {name: first[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert first["grpo/signal"] == pytest.approx(1 - first["grpo/frac_reward_zero_std"])


def test_no_tracker_has_the_secret(tracked: Tracked) -> None:
    places = [tracked.trackio, tracked.run / "wandb", tracked.run / "tensorboard"]
    places += [tracked.run / "tracking", tracked.run.parent / "mlruns"]
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    files = [path for path in files if not path.name.endswith((".db-shm", ".db-wal"))]
    assert len(files) > 40
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
