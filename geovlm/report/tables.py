"""Puts the scores of a run into tables: tasks and plugin means, provenance, blind baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SIGNIFICANT = 0.05
"""Largest p-value, exclusive, of a difference that counts as shown."""


def stage_names(metrics: Mapping[str, Any]) -> list[str]:
    """Return the evaluated stages in order: `base`, `sft`, `grpo`, as far as they are done."""
    names = (name for task in metrics["tasks"].values() for name in task["stages"])
    return list(dict.fromkeys(names))


def table(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of the result table: every task, then the means of plugins with several.

    Each row has `name`, `primary`, `higher_is_better`, `n`, `split`, `mean` (True for a mean),
    `blind` (the baseline of `baselines` that the model is the least above on the same samples, or
    `None`) and `cells`: stage -> `value`, `low`, `high`, `reward`, `change` (against the stage
    before: `against`, `difference`, `ci95`, `p`; or `None`). A `value` is `None` where the metric
    is undefined.
    """
    rows: list[dict[str, Any]] = []
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, task in metrics["tasks"].items():
        cells = {}
        for stage, entry in task["stages"].items():
            low, high = entry["ci95"].get(task["primary"], (None, None))
            cells[stage] = {
                "value": entry["metrics"].get(task["primary"]),
                "low": low,
                "high": high,
                "reward": entry["sampled_reward"],
                "change": _change(entry, task["primary"]),
            }
        first: Mapping[str, Any] = next(iter(task["stages"].values()), {})
        row = {
            "name": name,
            "primary": task["primary"],
            "higher_is_better": direction(task) > 0,
            "n": first.get("n", 0),
            "split": first.get("split", ""),
            "mean": False,
            "blind": strongest(_baselines(name, task)),
            "cells": cells,
        }
        rows.append(row)
        groups.setdefault(name.partition("/")[0], []).append(row)
    for plugin, many in groups.items():
        if len(many) > 1:
            rows.append(_mean_row(plugin, many, stages=stage_names(metrics)))
    return rows


def baselines(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the scores of blind baselines on the primary metric, task by task.

    Each has `task`, `name`, `primary`, `stage`, `n`, `value`, `model` (the stage's model on the
    same samples), `gain` (`difference`, `ci95`, `p`, or `None`), `lead` (how far the model is on
    the better side) and `beaten` (True if that is clear, see `better`; `None` without a gain). If
    the baseline could not be computed it has `unavailable`, the reason, and a `value` of `None`
    instead.
    """
    return [each for name, task in metrics["tasks"].items() for each in _baselines(name, task)]


def strongest(found: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the baseline of one task that is the hardest to beat, or `None` if none has a value.

    Those that are not beaten come first, then the smallest lead. Values are not compared with each
    other, because baselines may be of different samples.
    """
    known = [each for each in found if each["value"] is not None]
    return min(known, key=lambda each: (each["beaten"] is True, each["lead"]), default=None)


def direction(task: Mapping[str, Any]) -> int:
    """Return 1, or -1 if a smaller value of the primary metric is better."""
    return 1 if task.get("higher_is_better", True) else -1


def better(change: Mapping[str, Any], *, sign: int = 1) -> bool:
    """Return True if a number has clearly risen, or with `sign` -1 fallen.

    That is, its 95 % interval excludes 0 and its p-value is below `SIGNIFICANT`.
    """
    return bool(min(sign * bound for bound in change["ci95"]) > 0 and change["p"] < SIGNIFICANT)


def pair_probes(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the probes of image pairs: `task`, `primary` and the fields of the entry, by task."""
    return [
        {"task": name, "primary": task["primary"], **task["probes"]}
        for name, task in metrics["tasks"].items()
        if "probes" in task
    ]


def choice_orders(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the probes of multiple choice, as `pair_probes`."""
    return [
        {"task": name, "primary": task["primary"], **task["choices"]}
        for name, task in metrics["tasks"].items()
        if "choices" in task
    ]


def remarks(metrics: Mapping[str, Any]) -> list[str]:
    """Return a line for each score that lacks records of ours, is undefined, or was paid for."""
    lines = []
    for name, task in metrics["tasks"].items():
        for stage, entry in task["stages"].items():
            if entry["metrics"].get(task["primary"]) is None:
                lines.append(f"{name}, {stage}: {task['primary']!r} is no finite number")
            scores = entry.get("published") or {}
            n = sum(scores.get("skipped", {}).values())
            if n:
                part = f"{n} of {scores['lines']} records ({n / scores['lines']:.2%})"
                lines.append(f"{name}, {stage}: {scores['protocol']} skips {part}")
            if "served" in entry:
                lines.append(f"{name}, {stage}: {_served(entry['served'], n=entry['n'])}")
    return lines


def _served(found: Mapping[str, Any], *, n: int) -> str:
    """Return what an endpoint answered, and at what cost."""
    wrong = ", ".join(f"{found[what]} {what}" for what in ("refused", "empty", "cut"))
    spent = f"{found['prompt_tokens']:,} + {found['completion_tokens']:,} tokens"
    if found["cost"] is not None:
        spent += f", cost {found['cost']:.4g}"
    asked = f"{found['answers']} answers in all, {found['reused']} known before"
    return f"of {n} greedy answers {wrong}; {asked}; {spent}"


def provenance(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the provenance of every reported score: `task`, `stage` and their entry."""
    return [
        {"task": name, "stage": stage, "entry": entry}
        for name, task in metrics["tasks"].items()
        for stage, entry in task["stages"].items()
    ]


def _baselines(name: str, task: Mapping[str, Any]) -> list[dict[str, Any]]:
    primary, found = task["primary"], []
    for baseline, entry in task.get("blind", {}).items():
        made = {"task": name, "name": baseline.replace("_", " "), "primary": primary}
        if "unavailable" in entry:
            found.append({**made, "unavailable": entry["unavailable"], "value": None})
            continue
        value, model = entry["metrics"].get(primary), entry["model"].get(primary)
        if value is None or model is None:
            undefined = f"{primary} is undefined for its {entry['n']} samples"
            found.append({**made, "unavailable": undefined, "value": None})
            continue
        gain = _defined(entry["gain"].get(primary))
        found.append(
            {
                **made,
                "stage": entry["stage"],
                "n": entry["n"],
                "value": value,
                "model": model,
                "gain": gain,
                "lead": direction(task) * (model - value),
                "beaten": None if gain is None else better(gain, sign=direction(task)),
            }
        )
    return found


def _change(entry: Mapping[str, Any], primary: str) -> dict[str, Any] | None:
    """Return the change of the primary metric since the stage before, or `None`."""
    change = entry.get("change")
    if change is None:
        return None
    moved = _defined(change["metrics"].get(primary))
    return None if moved is None else {"against": change["against"], **moved}


def _defined(change: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return a stored change, or `None` if a number of it is not defined."""
    if change is None or None in (change["difference"], change["p"], *change["ci95"]):
        return None
    return change


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _mean_row(
    plugin: str, rows: Sequence[dict[str, Any]], *, stages: Sequence[str]
) -> dict[str, Any]:
    cells = {}
    for stage in stages:
        found = [row["cells"][stage] for row in rows if stage in row["cells"]]
        if len(found) == len(rows):
            cells[stage] = {
                "value": _mean([cell["value"] for cell in found]),
                "low": None,
                "high": None,
                "reward": sum(cell["reward"] for cell in found) / len(found),
                "change": None,
            }
    return {
        "name": f"{plugin}: mean of {len(rows)} tasks",
        "primary": "primary",
        "higher_is_better": True,
        "n": sum(row["n"] for row in rows),
        "split": "",
        "mean": True,
        "blind": None,
        "cells": cells,
    }
