"""A finished run that is written by hand: two tasks, three evaluations, logs of training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from geovlm.config.schema import RunConfig
from geovlm.run import files
from geovlm.run.folder import RunDir

HOME = "/home/ada/eo"
"""Where the author of the run keeps data; no page shows it."""
TASKS = ("xbd/disaster", "xbd/refer")
STAGES = ("base", "sft", "grpo")
SHOWN = (1, 5, 3, 7, 0)
"""Samples of each task that a report chooses: two now right, two still wrong, and the next one."""
SCORES = {
    "xbd/disaster": {"base": 0.25, "sft": 0.875, "grpo": 0.75},
    "xbd/refer": {"base": 0.5, "sft": 0.625, "grpo": 0.65},
}


def run(folder: Path, *, said: Sequence[str] = ()) -> RunDir:
    """Write a run of eight samples per task; its last stage said `said` to those that are shown."""
    slots = [(task, number) for task in TASKS for number in SHOWN]
    texts = dict(zip(slots, said, strict=False))
    made = RunDir(folder / "first-run")
    config = RunConfig.model_validate(
        {
            "tasks": list(TASKS),
            "stages": [{"kind": kind, "steps": 30} for kind in ("sft", "grpo")],
        }
    )
    resolved = {
        "config": {**config.model_dump(mode="json"), "output": f"{HOME}/runs/first-run"},
        "task_names": list(TASKS),
        "stage_folders": config.stage_folders(),
        "world_sizes": {"0": 1, "1": 1},
        "data_roots": {"xbd": f"{HOME}/xBD"},
        "generated": ["xbd"],
        "left_out": {"rsvqa/lr": f"{HOME}/rsvqa is no folder"},
    }
    files.write_json(made.resolved, resolved)
    files.write_json(made.environment, environment())
    files.JsonLines(made.stage(0) / "log.jsonl").append(
        {"step": step, "loss": 3 / step} for step in range(1, 31)
    )
    files.JsonLines(made.stage(1) / "log.jsonl").append(_grpo(step) for step in range(1, 31))
    for task in TASKS:
        for stage in STAGES:
            records = [_record(made.path, task, stage, number) for number in range(8)]
            if stage == STAGES[-1]:
                for number, record in enumerate(records):
                    record["completion"] = texts.get((task, number), record["completion"])
            made.write_eval(task, stage, records)
            _score(made, task, stage)
    return made


def environment() -> dict[str, Any]:
    """Return the part of `environment.json` that a report reads."""
    return {
        "geovlm": "0.1.0",
        "python": "3.11.7",
        "packages": {"torch": "2.13.0", "transformers": "5.23.0", "trl": "1.16.0"},
        "machine": {"system": "Linux", "cores": 2, "gpus": 0, "device": "cpu"},
        "model": {"name": "nano", "parameters": 2_250_368},
        "started": "2026-12-01T02:50:00+00:00",
        "command": f"run --tasks {','.join(TASKS)} --data xbd={HOME}/xBD "
        f"--output {HOME}/runs/first-run".split(),
    }


def _grpo(step: int) -> dict[str, Any]:
    return {
        "step": step,
        "reward": 1 + step / 100,
        "kl": step / 1000,
        "rewards/xbd/refer/matched_iou/mean": None if step % 3 else 0.5 + step / 100,
    }


def _record(folder: Path, task: str, stage: str, number: int) -> dict[str, Any]:
    """Return an answer: one of two is right at the start, and three of four at the end."""
    right = number % 2 == 0 if stage == "base" else number % 4 != 3
    image = folder / f"{number % 2}.png"
    if not image.exists():
        Image.radial_gradient("L").resize((160, 120)).save(image)
    boxed = task == "xbd/refer"
    gold = "[20, 20, 80, 80]" if boxed else "flood"
    answer = gold if right else "[90, 10, 140, 60]" if boxed else "wind"
    reward = "matched_iou" if boxed else "exact"
    return {
        "task": task,
        "sample_id": f"scene-{number}",
        "images": [str(image), str(image)],
        "question": f"Question {number}? First reason in <think> </think>, then answer in "
        "<answer> </answer>.",
        "completion": f"<think> Water {number}. </think><answer> {answer} </answer>",
        "answer": gold,
        "target": {"boxes": [[20, 20, 80, 80]]} if boxed else {"answer": gold},
        "image_sizes": [[160, 120]] * 2,
        "input_sizes": [[160, 120]] * 2,
        "profile": "qwen2.5-vl",
        "rewards": {"format/think": 1.0, "format/answer": 1.0, reward: float(right)},
    }


def _score(made: RunDir, task: str, stage: str) -> None:
    primary = "mean_iou" if task == "xbd/refer" else "accuracy"
    value = SCORES[task][stage]
    entry: dict[str, Any] = {
        "n": 8,
        "split": "test",
        "seed": 0,
        "metrics": {primary: value},
        "ci95": {primary: [value - 0.125, value + 0.125]},
        "sampled_reward": 1 + value,
        "sampled_rewards": {"matched_iou" if task == "xbd/refer" else "exact": value},
    }
    if stage != "base":
        before = SCORES[task][STAGES[STAGES.index(stage) - 1]]
        moved = {"difference": value - before, "ci95": [-0.25, 0.5], "p": 0.25}
        entry["change"] = {"against": "base", "metrics": {primary: moved}}
    gain = {"difference": value - 0.125, "ci95": [0.125, 0.5], "p": 0.01}
    blind = {
        "stage": stage,
        "n": 8,
        "model": {primary: value},
        "metrics": {primary: 0.125},
        "gain": {primary: gain},
    }
    more = {"blind": {"text_only": blind, "shuffled": {"stage": stage, "unavailable": "one scene"}}}
    made.write_metrics(task, stage, primary=primary, entry=entry, more=more)


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]
