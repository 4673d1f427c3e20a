"""Steps, losses and rewards of a trainer in the state of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from geovlm.engine.progress import ProgressCallback, task_rewards
from geovlm.run.files import JsonLines
from geovlm.run.status.meter import Meter

WEIGHTS = {"a/b": {"recall": 1.0, "format": 0.5}, "c/d": {"iou": 2.0}}


def logged(recall: float, **more: float) -> dict[str, float]:
    made = {"rewards/a/b/recall/mean": recall, "rewards/a/b/format/mean": 1.0}
    return {**made, "reward": 1.0, "frac_reward_zero_std": 0.25, **more}


def shown(tmp_path: Path, logs: list[dict[str, float]], **given: Any) -> dict[str, Any]:
    """Return the file of a stage in which these records were logged."""
    meter = Meter(tmp_path / "progress.json")
    log = JsonLines(tmp_path / "log.jsonl")
    log.append(given.get("before", []))
    callback = ProgressCallback(meter, log=log, weights=given.get("weights", WEIGHTS))
    begun = len(given.get("before", []))
    state = TrainerState(max_steps=given.get("steps", begun + len(logs)), global_step=begun)
    run = TrainingArguments(use_cpu=True, output_dir=str(tmp_path)), state, TrainerControl()
    callback.on_train_begin(*run)
    for record in logs:
        state.global_step += 1
        callback.on_step_end(*run)
        callback.on_log(*run, logs=record)
    callback.on_train_end(*run)
    meter.close()
    found = json.loads((tmp_path / "progress.json").read_text())
    assert isinstance(found, dict)
    return found


def test_the_reward_of_a_task_is_the_weighted_sum_of_its_rewards() -> None:
    log = logged(0.25) | {"rewards/c/d/iou/mean": float("nan")}  # no completion of c/d in the step
    assert task_rewards(log, WEIGHTS) == {"a/b": 0.25 + 0.5}


def test_rewards_are_shown_with_the_mean_of_the_last_five_steps(tmp_path: Path) -> None:
    found = shown(tmp_path, [logged(0.0), *[logged(0.5)] * 4, logged(1.0)])
    assert found["rewards"] == {"a/b": {"last": 1.5, "mean": 1.1}}  # 0.6 of recall, 0.5 of format
    assert found["no_signal"] == {"last": 0.25, "mean": 0.25}
    (part,) = found["parts"]
    assert (part["name"], part["done"], part["total"], part["over"]) == ("train", 6, 6, True)
    assert found["doing"] == "saving the model"


def test_a_task_keeps_its_reward_in_a_step_without_it(tmp_path: Path) -> None:
    found = shown(tmp_path, [logged(1.0) | {"rewards/c/d/iou/mean": 0.5}, logged(1.0)])
    assert found["rewards"]["c/d"] == {"last": 1.0, "mean": 1.0}


def test_a_resumed_training_shows_the_rewards_before(tmp_path: Path) -> None:
    before = [{"step": 1, **logged(0.0)}, {"step": 2, **logged(0.5)}]
    found = shown(tmp_path, [logged(1.0)], before=before)
    assert found["rewards"]["a/b"] == {"last": 1.5, "mean": 1.0}
    assert (found["parts"][0]["done"], found["parts"][0]["fresh"]) == (3, 1)


def test_a_training_that_is_stopped_is_not_over(tmp_path: Path) -> None:
    found = shown(tmp_path, [logged(1.0)] * 3, steps=9)
    (part,) = found["parts"]
    assert (part["done"], part["total"], part["over"]) == (3, 9, False)
    assert found["doing"] == "stopping"


@pytest.mark.parametrize("logs", [[{"loss": 2.0}, {"loss": 1.5}, {"train_loss": 1.7}]])
def test_without_rewards_the_loss_is_shown(tmp_path: Path, logs: list[dict[str, float]]) -> None:
    found = shown(tmp_path, logs, weights=None)
    assert found["loss"] == 1.5
    assert "rewards" not in found
