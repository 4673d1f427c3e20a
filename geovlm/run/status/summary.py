"""The state of a run as the lines of `watch`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geovlm.run.status import words
from geovlm.run.status.watching import View

_TASKS = 12
"""Largest number of tasks with a line each."""


def head(view: View, *, run: Path) -> str:
    """Return the state and its reason on one line."""
    record = view.record
    after = words.clock(record["elapsed_s"])
    state = f"{view.state} (slow)" if view.slow else view.state
    attempt = f", attempt {record['attempt']}" if record["attempt"] > 1 else ""
    why = f": {view.why}" if view.why else ""
    return f"{run}: {state} after {after}{attempt}{why}"


def lines(view: View, *, run: Path, metrics: Mapping[str, Any]) -> list[str]:
    """Return the state of a run in full; `metrics` is its `metrics.json`."""
    record = view.record
    made = [head(view, run=run)]
    if view.state != "done":
        made.append(_now(view))
    made += [f"done: {each}" for each in _done(record)]
    made += _learning(record)
    made += [
        f"health: {each['stage']}, step {each['step']}: {each['rule']}, {each['figures']}"
        for each in record["health"]
    ]
    if record["memory"] and view.state in ("running", "paused", "silent"):
        made.append(_memory(record["memory"]))
    made += _scores(metrics)
    if view.state in ("killed", "stopped", "failed"):
        again = shlex.join(["geovlm", "run", "--resume", "--output", str(run)])
        made.append(f"to continue: {again}")
    return made


def _now(view: View) -> str:
    """Return what the run does, or did last."""
    record = view.record
    part = words.current(record)
    where = "" if record["stage"] is None else f"{words.place(record)}: "
    what = words.counted(part) if part is not None else record["doing"] or "between two stages"
    detail = f" ({part['detail']})" if part is not None and part["detail"] else ""
    if view.state in ("running", "paused", "silent"):
        return f"{where}{what}{detail}; {words.left(record)}"
    if record["stage"] is None and not record["doing"]:
        todo = [each["stage"] for each in record["stages"] if not each["over"]]
        where = f"{words.place(record, todo[0])}" if todo else "after the last stage"
        part = next((each for each in record["parts"] if not each["over"]), None)
        what = f": {words.counted(part)}" if todo and part is not None else ""
        return f"ended in {where}{what}"
    return f"ended in {where}{what}{detail}"


def _done(record: Mapping[str, Any]) -> list[str]:
    """Return the parts that are over, in one line per stage."""
    told = []
    for stage in record["stages"]:
        own = [part for part in record["parts"] if part["stage"] == stage["stage"]]
        over = [words.finished(part) for part in own if part["over"] and part["fresh"]]
        if over:
            whole = f"; {words.clock(stage['seconds'])} in all" if stage["over"] else ""
            told.append(f"{words.place(record, stage['stage'])}: {', '.join(over)}{whole}")
    return told


def _learning(record: Mapping[str, Any]) -> list[str]:
    """Return the rewards by task, the share of groups without signal, and the loss."""
    made = []
    rewards = list(record["rewards"].items())
    for task, each in rewards[:_TASKS]:
        made.append(f"reward: {task} {each['mean']:.3f}, in the last step {each['last']:.3f}")
    if len(rewards) > _TASKS:
        made.append(f"reward: {len(rewards) - _TASKS} more tasks")
    signal = record["no_signal"]
    if signal is not None:
        made.append(
            f"groups without signal: {_percent(signal['mean'])}, "
            f"in the last step {_percent(signal['last'])}"
        )
    if record["loss"] is not None:
        made.append(f"loss: {record['loss']:.3f}")
    return made


def _memory(memory: Mapping[str, float]) -> str:
    """Return the memory of the first process of the stage."""
    told = [f"process {memory['process']:.1f} GiB"] if "process" in memory else []
    if "gpu" in memory:
        told.append(f"GPU {memory['gpu_peak']:.1f} of {memory['gpu']:.1f} GiB at most")
    return f"memory: {', '.join(told)}"


def _scores(metrics: Mapping[str, Any]) -> list[str]:
    """Return the primary metric of each task after each stage, and the verdict if there is one."""
    made = []
    tasks = list(metrics["tasks"].items())
    verdict = metrics.get("verdict") or {"summary": "", "tasks": {}}
    for task, own in tasks[:_TASKS]:
        values = [
            f"{stage} {entry['metrics'][own['primary']]:.3f}"
            for stage, entry in own["stages"].items()
        ]
        said = verdict["tasks"].get(task, {}).get("sentence", "")
        made.append(
            f"score: {task} {own['primary']}, {', '.join(values)}{f'; {said}' if said else ''}"
        )
    if len(tasks) > _TASKS:
        made.append(f"score: {len(tasks) - _TASKS} more tasks")
    if verdict["summary"]:
        made.append(f"verdict: {verdict['summary']}")
    return made


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
