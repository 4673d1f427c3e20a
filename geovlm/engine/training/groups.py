"""Measures from the files of a GRPO stage how many groups of completions taught nothing."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from geovlm.engine.training.probe import is_flat
from geovlm.run.files import JsonLines


def measure(folder: Path) -> dict[str, Any]:
    """Return `steps` of a finished GRPO stage and the share of groups with equal rewards.

    `constant` holds it per task, as far as completions were logged; `constant_share` is that of all
    groups, the mean over the steps of the log, or `None` if there was no step.
    """
    log = [record for record in JsonLines(folder / "log.jsonl").records() if "reward" in record]
    shares = [record.get("frac_reward_zero_std") for record in log]
    known = [float(share) for share in shares if share is not None]
    groups: dict[tuple[int, str, str], tuple[float, float]] = {}
    for record in JsonLines(folder / "completions.jsonl").records():
        key, reward = (record["step"], record["task"], record["sample_id"]), record["reward"]
        low, high = groups.get(key, (reward, reward))
        groups[key] = min(low, reward), max(high, reward)
    flat: dict[str, list[bool]] = {}
    for (_, task, _), bounds in groups.items():
        flat.setdefault(task, []).append(is_flat(bounds))
    return {
        "steps": log[-1]["step"] if log else 0,
        "constant_share": statistics.fmean(known) if known else None,
        "constant": {task: sum(each) / len(each) for task, each in flat.items()},
    }
