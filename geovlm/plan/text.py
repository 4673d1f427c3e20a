"""Writes a plan as text for people and as a table for programs."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from geovlm.config import checkpoint
from geovlm.data import objects
from geovlm.data.loading import REAL_RECORDS
from geovlm.plan import commands

if TYPE_CHECKING:
    from geovlm.plan.build import Plan, StagePlan


def lines(plan: Plan) -> list[str]:
    """Return the plan, one fact per line."""
    return [
        f"model   {_model(plan)}",
        f"data    {_data(plan)}",
        *(f"task    {line}" for line in _tasks(plan)),
        *(f"left out  {name}: {why}" for name, why in plan.left_out.items()),
        *(f"skipped   {line}" for line in _skipped(plan)),
        *(f"deduplicated  {line}" for line in _deduplicated(plan)),
        *(f"stage   {_stage(stage, plan)}" for stage in plan.stages),
        f"reward  the {plan.config.rewards} set {'trains' if plan.stages else 'counts'}, the other "
        "set is logged",
        *_few(plan),
        *_warnings(plan),
        *_notes(plan),
        *_small(plan),
        *_track(plan),
        f"output  {plan.output}",
    ]


def table(plan: Plan) -> dict[str, Any]:
    """Return the plan for programs, with the command lines of its stages."""
    model = plan.model
    return {
        "model": {
            "name": model.name,
            "built_in": model.built_in,
            "model_type": model.model_type,
            "parameters": model.parameters,
        },
        "tasks": [
            {
                "name": task.name,
                "dataset": task.dataset,
                "root": str(task.root),
                "generated": task.generated,
                "few": task.few,
                "samples": dict(task.samples),
                "evaluated": task.evaluated,
                "skipped": task.skipped,
                "deduplicated": task.deduplicated,
                "objects": task.objects.as_json() if task.objects is not None else None,
                "visual_tokens": task.visual_tokens,
                "text_tokens": task.text_tokens,
            }
            for task in plan.tasks
        ],
        "left_out": dict(plan.left_out),
        "stages": [asdict(stage) for stage in plan.stages],
        "device": plan.config.device,
        "output": str(plan.output),
        "commands": [shlex.join(each.argv) for each in commands.launches(plan)],
        "config": plan.config.model_dump(mode="json"),
    }


def _few(plan: Plan) -> list[str]:
    """Return a line for the data sets of which a dry run reads a few records."""
    names = dict.fromkeys(task.dataset for task in plan.tasks if task.few)
    if not names:
        return []
    verb = "has" if len(names) == 1 else "have"
    return [
        f"note    {', '.join(names)} {verb} no generated data: of each task at most {REAL_RECORDS} "
        "real records are read here; 'geovlm plan' counts all"
    ]


def _track(plan: Plan) -> list[str]:
    names, project = plan.config.track, plan.config.track_project
    if not names:
        return []
    return [f"track   {', '.join(names)}: project {project}, run {plan.output.name}"]


def _model(plan: Plan) -> str:
    model = plan.model
    name = f"{model.name}, the built-in model" if model.built_in else model.name
    if model.profile is None:
        return f"{name}: its files are not on this machine, the first stage downloads them"
    size = f", {model.parameters / 1e6:,.2f} M parameters" if model.parameters else ""
    frame = model.profile.box_frame
    boxes = f"boxes in {frame}" if frame else "frame of its boxes not known"
    if frame and model.profile.box_order == "yxyx":
        boxes += ", y first"
    if model.served:
        served = plan.config.served
        sent = f"images as {served.image_format.upper()} of at most {model.profile.max_pixels:,} px"
        return f"{name} at {served.base_url}: {boxes}, {sent}"
    shape = ", of a shipped shape: its files are not on this machine" if model.shipped else ""
    return f"{name}: {model.model_type}{size}, {boxes}{shape}"


def _data(plan: Plan) -> str:
    if all(task.generated for task in plan.tasks):
        sample = plan.config.sample
        return (
            f"generated sample data, {sample.records} records per split, seed {sample.seed} "
            "(give real data with --data)"
        )
    return "; ".join(dict.fromkeys(f"{task.dataset}: {task.root}" for task in plan.tasks))


def _tasks(plan: Plan) -> list[str]:
    width = max(len(task.name) for task in plan.tasks)
    made = []
    for task in plan.tasks:
        counts = ", ".join(f"{split} {n:,}" for split, n in task.samples.items())
        counts += " read" if task.few else f" ({task.evaluated:,} evaluated)"
        tokens = ""
        if task.visual_tokens is not None:
            tokens = f"; about {task.visual_tokens} visual"
            tokens += f" + {task.text_tokens} text tokens" if task.text_tokens else " tokens"
        made.append(f"{task.name:<{width}}  {counts}{tokens}")
    return made


def _skipped(plan: Plan) -> list[str]:
    found = {
        (task.dataset, split, reason): each
        for task in plan.tasks
        for split, reasons in task.left_out.items()
        for reason, each in reasons.items()
    }
    return [
        f"{dataset} {split}: {each.count:,} record{'s' * (each.count > 1)}, {reason}, first "
        f"{each.first[0]}"
        for (dataset, split, reason), each in found.items()
    ]


def _deduplicated(plan: Plan) -> list[str]:
    if plan.config.deduplicate == "off":
        return []
    what = "images, events or scenes" if plan.config.deduplicate == "events" else "images"
    return [
        f"{task.name}: {task.deduplicated:,} training samples left out, the evaluation has their "
        f"{what}"
        for task in plan.tasks
    ]


def _stage(stage: StagePlan, plan: Plan) -> str:
    kind, plural = ("GPU", "s") if plan.config.device == "cuda" else ("CPU process", "es")
    processes = f"{stage.processes} {kind}{plural if stage.processes > 1 else ''}"
    subset = "" if len(stage.tasks) == len(plan.tasks) else f", on {', '.join(stage.tasks)}"
    return f"{stage.folder}: {stage.length}, {processes}{subset}"


def _notes(plan: Plan) -> list[str]:
    """Return a line if prompts cannot be shared, as far as the model's files state it."""
    asked = any(stage.kind == "grpo" and stage.share_prompt for stage in plan.config.stages)
    folder = plan.model.folder
    if not asked or folder is None or not (folder / checkpoint.CONFIG).is_file():
        return []
    settings = checkpoint.read_object(folder / checkpoint.CONFIG)
    why = checkpoint.partial_layers(settings.get("text_config") or settings)
    return [f"note    share_prompt is not used: {why}"] if why else []


def _small(plan: Plan) -> list[str]:
    """Return a line for the tasks whose objects the model can hardly see."""
    profile = plan.model.profile
    if profile is None:
        return []
    told: dict[str, list[str]] = {}
    for task in plan.tasks:
        if line := objects.warning(task.objects, model=plan.model.name, profile=profile):
            told.setdefault(line, []).append(task.name)
    return [f"warning  {', '.join(names)}: {line}" for line, names in told.items()]


def _warnings(plan: Plan) -> list[str]:
    if plan.config.preset == "nano" and not plan.model.built_in and plan.stages:
        return [
            "warning  preset nano has the learning rates of a model of two million parameters; "
            "--preset geovlm-r1 has those of the paper"
        ]
    return []
