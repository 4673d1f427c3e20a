"""Writes a run as one self-contained HTML file: verdict, samples, scores, curves, audit, data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from geovlm.report import card, cards, curves, facts, tables, verdict
from geovlm.report.outcomes import label
from geovlm.report.rendering import fitting
from geovlm.run import files
from geovlm.run.folder import RunDir


class _Sample(NamedTuple):
    why: str
    answered: dict[str, cards.Record]
    """Label of a stage -> its record."""
    weights: dict[str, float]


def write(run: Path) -> Path:
    """Write `report.html` into a run folder and return its path; unfinished stages are left out.

    Raises:
        ConfigError: the folder is not a run folder.
    """
    directory = RunDir(run)
    resolved = directory.read_resolved()
    metrics = directory.read_metrics()
    values = _values(directory, resolved, metrics)
    chosen = _samples(directory, resolved["task_names"], values["labels"])
    page = fitting(
        "report.html.j2",
        chosen,
        draw=lambda each, px: cards.card(
            each.answered, why=each.why, weights=each.weights, longest_px=px
        ),
        **values,
    )
    files.write_text(directory.report, page)
    return directory.report


def _values(
    directory: RunDir, resolved: Mapping[str, Any], metrics: Mapping[str, Any]
) -> dict[str, Any]:
    """Return everything that the template reads, samples excepted."""
    environment = files.read_json(directory.environment) if directory.environment.is_file() else {}
    against = directory.path / "against.json"
    clean = facts.without_folders(resolved)
    rows = tables.table(metrics)
    values = {
        "title": directory.path.resolve().name,
        "facts": facts.head(resolved, environment, metrics),
        "command": facts.command(environment),
        "built_in": resolved["config"]["model"] == "nano",
        "config": clean["config"],
        "generated": resolved.get("generated", []),
        "left_out": clean.get("left_out", {}),
        "deduplicated": resolved.get("deduplicated", {}),
        "packages": environment.get("packages", {}),
        "licences": facts.licences(resolved),
        "model_licence": card.base_licence(
            resolved["config"]["model"], revision=resolved["config"]["revision"]
        ),
        "data_roots": clean["data_roots"],
        "verdict": verdict.of(metrics, resolved),
        "labels": {stage: label(stage) for stage in tables.stage_names(metrics)},
        "rows": rows,
        "remarks": tables.remarks(metrics),
        "baselines": _by_task(tables.baselines(metrics)),
        "pairs": tables.pair_probes(metrics),
        "orders": tables.choice_orders(metrics),
        "provenance": tables.provenance(metrics),
        "against": files.read_json(against)["rows"] if against.is_file() else [],
        "health": _health(directory, resolved),
        "probes": _probes(directory, resolved),
        "curves": curves.groups(directory, resolved, metrics),
        "config_json": json.dumps(clean["config"], indent=1, ensure_ascii=False),
    }
    values["contents"] = _contents(values)
    return values


def _contents(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return anchor and label of the sections that the page has."""
    audited = values["baselines"] or values["pairs"] or values["orders"]
    there = {
        ("verdict", "Verdict"): True,
        ("samples", "Samples"): values["rows"],
        ("scores", "Scores"): values["rows"],
        ("training", "Training"): values["curves"] or values["probes"] or values["health"],
        ("audit", "Blind audit"): audited,
        ("published", "Published scores"): values["against"],
        ("data", "Data and licences"): True,
        ("configuration", "Configuration"): True,
    }
    return [section for section, has in there.items() if has]


def _by_task(baselines: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for each in baselines:
        found.setdefault(each["task"], []).append(each)
    return found


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


def _samples(directory: RunDir, tasks: Sequence[str], labels: Mapping[str, str]) -> list[_Sample]:
    """Return the samples to show in the order of the page, each with the answers of all stages."""
    chosen: dict[str, list[cards.Chosen]] = {}
    found: dict[str, dict[str, dict[str, cards.Record]]] = {}
    weights = {task: cards.weights(task) for task in tasks}
    for task in tasks:
        by_sample: dict[str, dict[str, cards.Record]] = {}
        for stage, name in labels.items():
            for record in files.JsonLines(directory.eval_file(task, stage)).read():
                by_sample.setdefault(record["sample_id"], {})[name] = record
        found[task] = by_sample
        scores = {
            name: [cards.score(each, weights=weights[task]) for each in answered.values()]
            for name, answered in by_sample.items()
        }
        chosen[task] = cards.choose(scores)
    return [
        _Sample(each.why, found[task][each.sample_id], weights[task])
        for task, each in cards.mixed(chosen)
    ]
