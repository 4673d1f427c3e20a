"""Says in words what a run has shown, per task and as a whole: a pure function of its scores.

A task has learned from the images if the model is clearly above every image-blind baseline on the
same samples and a stage has clearly raised its primary metric. "Clearly" means a 95 % interval
without 0 and p < 0.05 of the paired tests in `metrics.json`; nothing is corrected for the number of
tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from geovlm.report import outcomes, tables
from geovlm.report.outcomes import Case, label


def of(metrics: Mapping[str, Any], resolved: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the verdict of a run, from its `metrics.json` and `resolved.json`.

    Returns:
        `summary`, a sentence; `tasks`: name -> `primary`, `n`, `stages` (stage -> value), `blind`
        (the baseline that is the hardest to beat: `name`, `value`, `model` (of the same samples),
        `n`, `difference`, `ci95`, `p`, `beaten`; or `None`), `sampled` (the mean total reward of
        sampled answers after the last GRPO stage and the stage before it, and the `gain`; or
        `None`), `outcome` (`learned`, `not_shown`, `below_before`, `unchanged` or `unknown`),
        `sentence`, `reasons`; and `sampled`, the gain pooled over the tasks (`stage`, `against`,
        `difference`, `ci95`, `p`, `tasks`; or `None`).
    """
    cases = _cases(metrics)
    pooled = _pooled(metrics)
    tasks = {case.name: _task(case) for case in cases}
    return {
        "summary": _summary(cases, pooled, steps=_steps(metrics, resolved)),
        "tasks": tasks,
        "sampled": pooled,
    }


def _cases(metrics: Mapping[str, Any]) -> list[Case]:
    baselines = tables.baselines(metrics)
    return [
        Case(
            name=row["name"],
            row=row,
            baselines=[each for each in baselines if each["task"] == row["name"]],
            entries=metrics["tasks"][row["name"]]["stages"],
            signal=metrics.get("signal", {}),
        )
        for row in tables.table(metrics)
        if not row["mean"] and row["cells"]
    ]


def _task(case: Case) -> dict[str, Any]:
    outcome, sentence = outcomes.outcome(case)
    return {
        "primary": case.row["primary"],
        "n": case.row["n"],
        "stages": {stage: cell["value"] for stage, cell in case.row["cells"].items()},
        "blind": _blind(case.row["blind"]),
        "sampled": outcomes.sampled(case),
        "outcome": outcome,
        "sentence": sentence,
        "reasons": outcomes.reasons(case, outcome=outcome),
    }


def _blind(blind: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if blind is None:
        return None
    gain = blind["gain"] or {"difference": None, "ci95": None, "p": None}
    kept = {key: blind[key] for key in ("name", "value", "model", "n", "beaten")}
    return {**kept, **{key: gain[key] for key in ("difference", "ci95", "p")}}


def _pooled(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the gain of the last GRPO stage in sampled reward, pooled over tasks, or `None`."""
    found = metrics.get("sampled", {})
    last = next((stage for stage in reversed(list(found)) if outcomes.is_grpo(stage)), None)
    return None if last is None else {"stage": last, **found[last]}


def _steps(metrics: Mapping[str, Any], resolved: Mapping[str, Any] | None) -> dict[str, int]:
    """Return GRPO stage -> its steps: those done, else those configured."""
    stages = resolved["config"]["stages"] if resolved else ()
    configured = [stage.get("steps") for stage in stages if stage["kind"] == "grpo"]
    found = {f"grpo-{i}" if i > 1 else "grpo": n for i, n in enumerate(configured, start=1) if n}
    return {**found, **{stage: each["steps"] for stage, each in metrics.get("signal", {}).items()}}


def _summary(
    cases: Sequence[Case], pooled: Mapping[str, Any] | None, *, steps: Mapping[str, int]
) -> str:
    """Return the sentence about the whole run: one part per stage, one about blind baselines."""
    if not cases:
        return "Nothing was evaluated yet."
    trained = dict.fromkeys(stage for case in cases for stage in case.stages if stage != "base")
    parts = []
    for stage in trained:
        own = pooled if pooled is not None and pooled["stage"] == stage else None
        parts.append(_part(stage, cases, own, steps=steps.get(stage)))
    parts += _about_blind(cases, trained=bool(trained))
    text = "; ".join(parts)
    named = any(text.startswith(case.name) for case in cases)
    return f"{text if named else text[0].upper() + text[1:]}."


def _part(
    stage: str, cases: Sequence[Case], pooled: Mapping[str, Any] | None, *, steps: int | None
) -> str:
    """Return what one stage did: `SFT taught both tasks`."""
    raised = [case for case in cases if stage in case.moved(1)]
    fell = [case for case in cases if stage in case.moved(-1)]
    who = f"{steps} steps of {label(stage)}" if steps else label(stage)
    done = []
    if pooled is not None and (tables.better(pooled) or tables.better(pooled, sign=-1)):
        low, high = pooled["ci95"]
        verb = "raised" if pooled["difference"] > 0 else "lowered"
        if pooled["difference"] < 0:
            low, high = -high, -low
        size = abs(pooled["difference"])
        done.append(f"{verb} the sampled reward by {size:.2f} ({low:.2f} to {high:.2f})")
    if raised:
        verb = "taught" if all(case.beats_blind for case in raised) else "raised"
        done.append(f"{verb} {_tasks(raised, cases)}")
    if fell:
        done.append(f"lowered {_tasks(fell, cases)}")
    if not done:
        nothing = {1: "nothing measurable", 2: "neither measurably"}
        done.append(f"changed {nothing.get(len(cases), 'no task measurably')}")
    return f"{who} {' and '.join(done)}"


def _about_blind(cases: Sequence[Case], *, trained: bool) -> list[str]:
    """Return which tasks are not shown to look at the images, as none or one part."""
    unshown = [case for case in cases if case.beats_blind is False]
    seeing = [case for case in cases if case.beats_blind]
    parts = []
    if seeing and not trained:
        verb = "is" if len(seeing) == 1 else "are"
        parts.append(f"{_tasks(seeing, cases)} {verb} answered from the images")
    if unshown:
        if len(unshown) == len(cases) > 1:
            who = "neither task is" if len(cases) == 2 else "no task is"
        else:
            who = f"{_tasks(unshown, cases)} {'is' if len(unshown) == 1 else 'are'} not"
        parts.append(f"{who} shown to look at the images")
    if not seeing and not unshown:
        parts.append("no baseline without the images was measured")
    return parts


def _tasks(some: Sequence[Case], cases: Sequence[Case]) -> str:
    """Return `both tasks`, `xbd/disaster`, or `4 of 9 tasks`."""
    if len(some) == 1:
        return some[0].name
    if len(some) == len(cases):
        return "both tasks" if len(cases) == 2 else f"all {len(cases)} tasks"
    return f"{len(some)} of {len(cases)} tasks"
