"""`geovlm tasks`: lists tasks, shows one in full, draws samples."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from geovlm.api import Split
from geovlm.cli import arguments, output, tables
from geovlm.cli.groups import subcommands
from geovlm.cli.options import (
    DescriptionsOption,
    JsonOption,
    OptionalModelOption,
    SetOption,
    TaskArgument,
)
from geovlm.plugins import registry
from geovlm.plugins.registry import Registry

app = subcommands("List tasks, show one in full, or draw its samples.")


@app.command("list")
def list_tasks(
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder of data sets; default: $GEOVLM_DATA. Or a description of your own "
            "annotations. Repeatable.",
            metavar="<path>",
        ),
    ] = None,
    chosen: Annotated[
        str | None,
        typer.Option("--set", help="Only the benchmarks of this set of tasks.", metavar="NAME"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the tasks of all installed plugins, and of your own annotations.

    With --set each line is a benchmark of the set; benchmarks without an installed task are there
    too.
    """
    arguments.offered(data or [])
    root, _ = arguments.data_folders(data or [])
    loaded = registry.load()
    if chosen is not None:
        _list_set(chosen, loaded=loaded, data=root, json=json)
        return
    rows = [tables.row(task, loaded=loaded, data=root) for task in loaded.tasks.values()]
    if json:
        output.print_json(rows)
        return
    output.table(
        ("task", "version", "dataset", "data", "rewards", "plugin", "summary"),
        (
            (
                row["name"],
                row["version"],
                row["dataset"],
                "yes" if row["data_found"] else "no",
                " ".join(row["rewards"]["paper"]),
                row["plugin"],
                row["summary"] if row["usable"] else f"UNUSABLE: {row['reason']}",
            )
            for row in rows
        ),
    )
    if not rows:
        output.say("no task is installed: pip install a plugin, such as geovlm-xbd")


@app.command()
def show(name: TaskArgument, data: DescriptionsOption = None, json: JsonOption = False) -> None:
    """Show one task in full, with an example from generated data, or from your own annotations."""
    arguments.offered(data or [], alone=True)
    loaded = registry.load()
    task = loaded.task(name)
    spec = loaded.dataset(task.dataset)
    full = tables.full(task, spec, loaded=loaded)
    if json:
        output.print_json(full)
        return
    example = full["example"]
    rows: list[tuple[str, object]] = [
        ("task", f"{task.name}, version {task.version}"),
        ("summary", task.summary),
    ]
    if "error" in example:
        rows.append(("example", f"none: {example['error']}"))
    else:
        parts = [key for key in ("question", "reasoning", "answer") if example[key]]
        rows += [(f"example {key}", example[key]) for key in parts]
    for chosen in tables.SETS:
        for reward in full["rewards"][chosen]:
            formula = reward["formula"] or reward["summary"]
            text = f"{reward['weight']:g} x {reward['name']} = {formula}"
            source = f" [{reward['source']}]" if reward["source"] else ""
            rows.append((f"rewards, {chosen}", f"{text}{source}"))
    rows += [(f"metric {metric['name']}", metric["summary"]) for metric in full["metrics"]]
    rows += [
        ("primary metric", task.primary_metric),
        ("protocol", task.protocol or "none published"),
        ("reasoning", "asked for" if task.reasoning == "think" else "none, the answer alone"),
        ("longest completion", f"{task.max_answer_tokens} tokens"),
        ("smallest image", f"{task.min_pixels} px" if task.min_pixels else "as the model has it"),
        ("tags", ", ".join(sorted(task.tags)) or "none"),
        ("data set", f"{spec.name}, version {spec.version}: {spec.summary}"),
        ("splits", ", ".join(spec.splits)),
        ("folders", ", ".join(spec.folders)),
        ("licence", spec.licence),
        ("homepage", spec.homepage),
        ("citation", spec.citation),
    ]
    for owner, key in (("task", "options"), ("data set", "data_options")):
        for option in full[key]:
            text = f"{option['name']} = {option['default']!r}: {option['help']}"
            rows.append((f"{owner} option", text))
    output.fields(rows)


@app.command()
def preview(
    name: TaskArgument,
    out: Annotated[Path, typer.Option(help="Folder of the PNG files.")],
    n: Annotated[int, typer.Option("-n", min=1, help="Number of samples.")] = 4,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder of the data set, or of several; NAME=DIR for one of them; or a "
            "description of your own annotations. Repeatable. Default: generated data.",
            metavar="<path>",
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Split; default: the first one of the data set.")
    ] = None,
    model: OptionalModelOption = None,
    profile: Annotated[
        str | None, typer.Option(help="Model type of a family, in place of a model.")
    ] = None,
    model_pixels: Annotated[
        str | None,
        typer.Option(
            help="Source of the family's pixel limits: nano, a model folder, or the largest area "
            "in pixels."
        ),
    ] = None,
    set_: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Draw samples: correct boxes, question, answer, reasoning, and the image of the model.

    The model is that of a run: the built-in one without --model. With --profile it is any of a
    family, with the family's pixel limits.
    """
    from geovlm.cli import datasets
    from geovlm.config.tasks import configured
    from geovlm.data import objects
    from geovlm.data import preview as pictures
    from geovlm.data.prompts import Prompter
    from geovlm.raster import checks

    arguments.offered(data or [])
    loaded = registry.load()
    declared = loaded.task(name)
    spec = loaded.dataset(declared.dataset)
    root, config = datasets.locate(spec, data, overrides=set_ or [], registry=loaded, model=model)
    family = datasets.previewed(
        config, model=model, profile=profile, pixels=model_pixels, registry=loaded
    )
    task = configured(declared, config, profile=family)
    part = cast("Split", split or spec.splits[0])
    found = pictures.samples(
        task, spec, root=root, split=part, n=n, options=config.data_options(spec)
    )
    out.mkdir(parents=True, exist_ok=True)
    prompter = Prompter(task, profile=family, options=config.task_options(task))
    rows: list[dict[str, Any]] = []
    pictured = [image for sample in found for image in sample.images]
    verdict = checks.judge([checks.suspicions(image) for image in pictured])
    for note in (*verdict.notes, *([str(verdict.refusal)] if verdict.refusal else ())):
        output.say(f"note: {note}")
    for number, sample in enumerate(output.progress(found, label="drawing", total=len(found))):
        shown = prompter.prompt(sample)
        path = out / f"{task.name.replace('/', '__')}-{number:03d}.png"
        pictures.draw(shown, profile=family).save(path)
        rows.append(
            {
                "file": str(path),
                "id": sample.id,
                "question": shown.turn.question,
                "reasoning": shown.turn.reasoning,
                "answer": shown.turn.answer,
                "image_sizes": shown.image_sizes,
                "input_sizes": shown.input_sizes,
            }
        )
    measured = objects.of_samples(found, profile=family, min_pixels=task.min_pixels)
    name_of_model = config.model if profile is None and model_pixels is None else family.name
    if line := objects.warning(measured, model=name_of_model, profile=family):
        output.say(f"warning: {line}")
    if json:
        output.print_json(rows)
        return
    for row in rows:
        print(row["file"])


def _list_set(name: str, *, loaded: Registry, data: Path | None, json: bool) -> None:
    """Print the benchmarks of a set, with the options of their data sets."""
    reasons = loaded.absent([name])
    rows: list[dict[str, Any]] = []
    for entry in loaded.entries(name):
        task = None if entry.task in reasons else loaded.task(entry.task)
        spec = loaded.dataset(task.dataset) if task is not None else None
        rows.append(
            {
                "benchmark": entry.benchmark,
                "task": entry.task,
                "data_found": tables.is_found(spec, data=data),
                "data_options": dict(entry.data_options),
                "usable": task is not None,
                "summary": task.summary if task is not None else "",
                "reason": reasons.get(entry.task, ""),
            }
        )
    if json:
        output.print_json(rows)
        return
    output.table(
        ("benchmark", "task", "data", "data options", "summary"),
        (
            (
                row["benchmark"],
                row["task"],
                "yes" if row["data_found"] else "no",
                ", ".join(f"{key}={value}" for key, value in row["data_options"].items()) or "-",
                row["summary"] if row["usable"] else f"UNUSABLE: {row['reason']}",
            )
            for row in rows
        ),
    )
