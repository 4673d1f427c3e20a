"""What each stage must leave behind; a stage that leaves less has failed, whatever it says."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText

TASKS = ("families/question", "families/detect")
SOURCES = ("rsvqa/lr", "xbd/detect")
"""The tasks of the plugins that they are made of; their robust rewards add up to 2.0."""


class Missing(Exception):  # a finding, not an error of the program
    """A product of a stage that is absent or wrong."""


def require(condition: bool, said: str) -> None:
    """Raise `Missing` unless the condition holds."""
    if not condition:
        raise Missing(said)


def model(folder: Path) -> Any:
    """Return the model of a folder, as stock transformers loads it; every weight must be there."""
    found, info = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    require(not info["missing_keys"], f"{folder} lacks weights: {sorted(info['missing_keys'])[:3]}")
    require(
        all(bool(weight.isfinite().all()) for weight in found.parameters()),
        f"{folder} has weights that are no numbers",
    )
    return found


def changed(before: Any, after: Any) -> set[str]:
    """Return the names of the weights that differ between two models."""
    old = dict(before.named_parameters())
    return {
        name
        for name, weight in after.named_parameters()
        if not torch.equal(old[name].float(), weight.float())
    }


def sft(stage: Path, *, before: Path) -> None:
    """Check the loss and the saved model of an SFT stage."""
    losses = [line["train_loss"] for line in lines(stage / "log.jsonl") if "train_loss" in line]
    require(len(losses) == 1 and math.isfinite(losses[0]) and losses[0] > 0, f"loss {losses}")
    require(bool(changed(model(before), model(stage / "model"))), "the step changed no weight")


def adapted(folder: Path, *, before: Path) -> None:
    """Check that adapters have changed every layer of the decoder and nothing of the tower."""
    base = model(before)
    names = changed(base, model(folder))
    layers = {
        f".layers.{place}." for place in range(base.config.get_text_config().num_hidden_layers)
    }
    still = [layer for layer in sorted(layers) if not any(layer in name for name in names)]
    require(not still, f"no adapter has changed {still}")
    tower = sorted(name for name in names if "vision" in name or "visual" in name)
    require(not tower, f"adapters of the decoder have changed {tower[:3]}")


def probe(stage: Path) -> None:
    """Check the numbers of a probe and the prompts that it keeps."""
    tasks = json.loads((stage / "probe.json").read_text())["tasks"]
    require(tasks.keys() == set(TASKS), f"tasks {sorted(tasks)}")
    for name, found in tasks.items():
        require(found["prompts"] > 0, f"no prompt of {name}")
        require(found["tokens"]["mean"] > 0, f"empty completions of {name}")
    require(len(lines(stage / "kept.jsonl")) > 0, "no prompt is kept")


def grpo(stage: Path, *, before: Path, completions: int, prefill: str) -> None:
    """Check gradient, completions and saved model of a GRPO stage."""
    (step,) = [line for line in lines(stage / "log.jsonl") if "grad_norm" in line]
    require(math.isfinite(step["loss"]), f"loss {step['loss']}")
    require(step["reward_std"] > 0, "all rewards of the step are equal, so that it teaches nothing")
    require(math.isfinite(step["grad_norm"]) and step["grad_norm"] > 0, f"{step['grad_norm']=}")
    logged = lines(stage / "completions.jsonl")
    require(len(logged) == completions, f"{len(logged)} completions of {completions}")
    begun(logged, prefill)
    require(bool(changed(model(before), model(stage / "model"))), "the step changed no weight")


def evaluation(run: Path, *, stages: tuple[str, ...], samples: int, prefill: str) -> None:
    """Check scores and answers of every task after every stage."""
    scored = json.loads((run / "metrics.json").read_text())["tasks"]
    require(scored.keys() == set(TASKS), f"scores of {sorted(scored)}")
    for name, task in scored.items():
        require(task["stages"].keys() == set(stages), f"{name} after {sorted(task['stages'])}")
        for stage, found in task["stages"].items():
            where = f"{name} after {stage}"
            require(found["n"] == samples, f"{where}: {found['n']} samples")
            value = found["metrics"][task["primary"]]
            require(0.0 <= value <= 1.0, f"{where}: {task['primary']} {value}")
            require(0.0 <= found["sampled_reward"] <= 3.0, f"{where}: {found['sampled_reward']=}")
            answered = lines(run / "eval" / stage / f"{name.replace('/', '__')}.jsonl")
            require(len(answered) == samples, f"{where}: {len(answered)} answers")
            begun(answered, prefill)


def perfect(run: Path) -> None:
    """Check that correct answers have earned everything that there is."""
    scored = json.loads((run / "metrics.json").read_text())["tasks"]
    require(scored.keys() == set(SOURCES), f"scores of {sorted(scored)}")
    for name, task in scored.items():
        (found,) = task["stages"].values()
        where = f"correct answers of {name}"
        require(found["metrics"]["format_rate"] == 1.0, f"{where}: {found['metrics']}")
        require(found["metrics"][task["primary"]] >= 0.9, f"{where}: {found['metrics']}")
        for kind in ("greedy_reward", "sampled_reward"):
            require(found[kind] >= 1.9, f"{where}: {kind} {found[kind]}")
        if name == "rsvqa/lr":
            require(found["greedy_reward"] == 2.0, f"{where}: {found['greedy_reward']}")


def begun(completions: list[dict[str, Any]], prefill: str) -> None:
    """Check that completions begin with what the chat template writes of the answer."""
    for each in completions:
        said = each["completion"]
        require(said.startswith(prefill), f"a completion begins with {said[:20]!r}")
        require(len(said) > len(prefill), "a completion is empty")


def predicted(file: Path) -> None:
    """Check the file of a prediction: the windows that were asked, and what was read."""
    found = json.loads(file.read_text())
    require(found["type"] == "FeatureCollection", f"no features: {found['type']}")
    require(found["geovlm"]["windows"] > 0, "no window was asked")


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the records of a JSON Lines file; none if it is absent."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]
