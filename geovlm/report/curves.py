"""The curves of a run's training: one panel per quantity, with the level of the stage before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from geovlm.report import cards, figures
from geovlm.report.outcomes import label
from geovlm.run import files
from geovlm.run.folder import RunDir

SFT = {"loss": "loss", "mean_token_accuracy": "accuracy of the next token"}
HEALTH = {
    "kl": "KL divergence from the start",
    "entropy": "entropy of the tokens",
    "frac_reward_zero_std": "share of groups without signal",
    "completions/clipped_ratio": "share of completions cut at the limit",
}
"""Key of a log -> title of its panel; `HEALTH` is of GRPO."""


class Panel(NamedTuple):
    """One curve."""

    title: str
    svg: Markup
    """Our own drawing, hence no hostile text."""
    level: tuple[str, float] | None = None
    """Stage and value of the dashed line, if there is one."""


class Group(NamedTuple):
    """The panels of one stage of training."""

    title: str
    panels: list[Panel]


def groups(
    directory: RunDir, resolved: Mapping[str, Any], metrics: Mapping[str, Any]
) -> list[Group]:
    """Return the panels of every stage that has logged two steps or more."""
    made = []
    for index, stage in enumerate(resolved["config"]["stages"]):
        if stage["kind"] == "probe":
            continue
        log = files.JsonLines(directory.stage(index) / "log.jsonl").read()
        name = _name(resolved, index)
        if stage["kind"] == "sft":
            panels = [_panel(title, _points(log, key)) for key, title in SFT.items()]
        else:
            before = _before(metrics, name)
            panels = [_panel("total reward, all tasks", _points(log, "reward"))]
            panels += [_reward(log, task, metrics, before) for task in resolved["task_names"]]
            panels += [_panel(title, _points(log, key)) for key, title in HEALTH.items()]
        drawn = [panel for panel in panels if panel.svg]
        if drawn:
            made.append(Group(label(name), drawn))
    return made


def _name(resolved: Mapping[str, Any], index: int) -> str:
    """Return the name of a stage in scores, as `RunConfig.evaluation_name`."""
    kinds = [stage["kind"] for stage in resolved["config"]["stages"][: index + 1]]
    number = kinds.count(kinds[-1])
    return kinds[-1] if number == 1 else f"{kinds[-1]}-{number}"


def _before(metrics: Mapping[str, Any], name: str) -> str | None:
    """Return the last evaluation before the one named `name`, or `None`."""
    earlier = None
    for task in metrics["tasks"].values():
        for stage in task["stages"]:
            if stage == name:
                break
            earlier = stage
    return earlier


def _reward(
    log: Sequence[Mapping[str, Any]], task: str, metrics: Mapping[str, Any], before: str | None
) -> Panel:
    """Return the robust accuracy reward of a task, against that of the stage before.

    Both are of sampled answers: the curve to prompts of training, the level to held-out ones.
    """
    weights = cards.weights(task)
    keys = {reward: f"rewards/{task}/{reward}/mean" for reward in weights}
    points = [
        (record["step"], value)
        for record in log
        if (value := _mean({r: record.get(key) for r, key in keys.items()}, weights)) is not None
    ]
    entry = metrics["tasks"].get(task, {}).get("stages", {}).get(before, {})
    level = _mean({r: entry.get("sampled_rewards", {}).get(r) for r in weights}, weights)
    known = (label(before), level) if before is not None and level is not None else None
    return _panel(f"{task}: accuracy reward", points, level=known)


def _mean(values: Mapping[str, float | None], weights: Mapping[str, float]) -> float | None:
    found = {name: value for name, value in values.items() if value is not None}
    total = sum(weights[name] for name in found)
    return sum(weights[name] * value for name, value in found.items()) / total if total else None


def _points(log: Sequence[Mapping[str, Any]], key: str) -> Iterator[tuple[float, float]]:
    return ((r["step"], float(r[key])) for r in log if r.get(key) is not None)


def _panel(title: str, points: Any, *, level: tuple[str, float] | None = None) -> Panel:
    svg = figures.curve(list(points), level=None if level is None else level[1])
    return Panel(title, Markup(svg), level)
