"""Writes a run as one self-contained HTML file: results, baselines, curves, samples, configuration.

Model output is hostile input: the template escapes everything except our own figures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from geovlm import answers, boxes
from geovlm.api import PromptContext
from geovlm.plugins import profiles
from geovlm.report import figures, tables
from geovlm.run import files
from geovlm.run.folder import RunDir

CARDS_PER_TASK = 3
CURVES = 8
"""Largest number of reward curves; if there are more tasks, each plugin has one mean curve."""


def write(run: Path) -> Path:
    """Write `report.html` into a run folder and return its path; unfinished stages are left out.

    Raises:
        ConfigError: the folder is not a run folder.
    """
    directory = RunDir(run)
    resolved = directory.read_resolved()
    environment = directory.environment
    loader = jinja2.Environment(
        loader=jinja2.PackageLoader("geovlm.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    metrics = directory.read_metrics()
    against = directory.path / "against.json"
    page = loader.get_template("report.html.j2").render(
        title=", ".join(resolved["task_names"]),
        config=resolved["config"],
        generated=resolved.get("generated", []),
        left_out=resolved.get("left_out", {}),
        deduplicated=resolved.get("deduplicated", {}),
        data_roots=resolved["data_roots"],
        environment=files.read_json(environment) if environment.is_file() else {},
        stages=tables.stage_names(metrics),
        rows=tables.table(metrics),
        remarks=tables.remarks(metrics),
        baselines=tables.baselines(metrics),
        pairs=tables.pair_probes(metrics),
        provenance=tables.provenance(metrics),
        health=_health(directory, resolved),
        against=files.read_json(against)["rows"] if against.is_file() else [],
        seconds=metrics["seconds"],
        figures=_figures(directory, resolved),
        probes=_probes(directory, resolved),
        cards=_cards(directory, resolved, stages=tables.stage_names(metrics)),
        config_json=json.dumps(resolved["config"], indent=1),
    )
    files.write_text(directory.report, page)
    return directory.report


def _figures(directory: RunDir, resolved: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the curves of every training stage: title and SVG."""
    drawn = []
    for index, stage in enumerate(resolved["config"]["stages"]):
        if stage["kind"] == "probe":
            continue
        log = files.JsonLines(directory.stage(index) / "log.jsonl").read()
        if stage["kind"] == "sft":
            series = {"loss": _points(log, "loss")}
            drawn.append(("SFT: loss", figures.curves(series, ylabel="loss")))
            continue
        total = {"reward": _points(log, "reward"), "kl": _points(log, "kl")}
        drawn.append(("GRPO: total reward", figures.curves(total, ylabel="reward")))
        for kind in ("paper", "robust"):
            series = _reward_series(log, resolved["task_names"], kind=kind)
            drawn.append((f"GRPO: {kind} rewards", figures.curves(series, ylabel="mean reward")))
        health = {
            "entropy": _points(log, "entropy"),
            "groups without signal": _points(log, "frac_reward_zero_std"),
            "clipped completions": _points(log, "completions/clipped_ratio"),
        }
        drawn.append(("GRPO: health", figures.curves(health, ylabel="")))
    # the SVG is our own drawing; names in it were escaped by matplotlib
    return [{"title": title, "svg": Markup(svg)} for title, svg in drawn if svg]


def _points(log: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    return [(r["step"], float(r[key])) for r in log if r.get(key) is not None]


def _reward_series(
    log: Sequence[Mapping[str, Any]], tasks: Sequence[str], *, kind: str
) -> dict[str, list[tuple[float, float]]]:
    """Return the mean accuracy rewards of one set, per task, or per plugin if tasks are many."""
    from geovlm.plugins import registry

    known = registry.load().tasks
    per_plugin = len(tasks) > CURVES
    sums: dict[str, dict[float, list[float]]] = {}
    for record in log:
        for task in tasks:
            if task not in known:
                continue
            name = task.partition("/")[0] if per_plugin else task
            for reward in known[task].rewards.get(kind, {}):
                value = record.get(f"rewards/{task}/{reward}/mean")
                if value is not None:
                    sums.setdefault(name, {}).setdefault(record["step"], []).append(float(value))
    return {
        name: [(step, sum(values) / len(values)) for step, values in sorted(steps.items())]
        for name, steps in sums.items()
    }


def _probes(directory: RunDir, resolved: Mapping[str, Any]) -> list[dict[str, Any]]:
    stages = enumerate(resolved["config"]["stages"])
    probes = (directory.stage(index) / "probe.json" for index, s in stages if s["kind"] == "probe")
    return [files.read_json(path) for path in probes if path.is_file()]


def _health(directory: RunDir, resolved: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the broken health rules of every GRPO stage, with the stage's folder."""
    return [
        {"stage": directory.stage(index).name, **finding}
        for index, stage in enumerate(resolved["config"]["stages"])
        if stage["kind"] == "grpo"
        for finding in files.JsonLines(directory.stage(index) / "health.jsonl").read()
    ]


def _cards(
    directory: RunDir, resolved: Mapping[str, Any], *, stages: Sequence[str]
) -> list[dict[str, Any]]:
    """Return sample cards: the first few of every task, with each stage's answer to it."""
    cards = []
    for task in resolved["task_names"]:
        by_stage = {
            stage: {
                record["sample_id"]: record
                for record in files.JsonLines(directory.eval_file(task, stage)).read()
            }
            for stage in stages
        }
        newest = next((by_stage[s] for s in reversed(stages) if by_stage[s]), {})
        chosen = list(newest)
        step = max(1, len(chosen) // CARDS_PER_TASK)
        for sample_id in chosen[::step][:CARDS_PER_TASK]:
            answered = {s: by_stage[s][sample_id] for s in stages if sample_id in by_stage[s]}
            cards.append(_card(task, newest[sample_id], answered))
    return cards


def _card(
    task: str, record: Mapping[str, Any], answered: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    predicted = _predicted(record)
    images = record["images"]
    last = len(images) - 1
    truth = boxes.target_boxes(record["target"])
    return {
        "task": task,
        "sample_id": record["sample_id"],
        "images": [
            figures.picture(
                image, truth=truth if i == last else (), predicted=predicted if i == last else ()
            )
            for i, image in enumerate(images)
        ],
        "question": record["question"],
        "gold": record["answer"],
        "stages": [
            {
                "name": stage,
                "think": answers.think_text(each["completion"]),
                "answer": answers.answer_text(each["completion"]),
                "completion": each["completion"],
                "rewards": each["rewards"],
            }
            for stage, each in answered.items()
        ],
    }


def _predicted(record: Mapping[str, Any]) -> tuple[boxes.Box, ...]:
    """Return the boxes of the newest answer, where the task has boxes and their frame is known."""
    if "boxes" not in record["target"] or "answer" in record["target"]:
        return ()
    profile = profiles.of_record(record)
    if profile is None or profile.box_frame is None:
        return ()
    context = PromptContext(
        image_sizes=tuple((w, h) for w, h in record["image_sizes"]),
        input_sizes=tuple((w, h) for w, h in record["input_sizes"]),
        profile=profile,
    )
    return boxes.parse(answers.answer_text(record["completion"]), context)
