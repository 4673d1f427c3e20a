"""`geovlm eval`: score a model on some tasks, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from geovlm.cli import output, run


def evaluate(
    model: Annotated[str, typer.Option(help="nano, a folder, or a name on the hub.")],
    tasks: Annotated[str, typer.Option(help="Tasks or prefixes of tasks, with commas between.")],
    out: Annotated[Path, typer.Option("--output", help="Folder for answers and scores.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    limit: Annotated[
        int | None, typer.Option(help="At most so many samples per task, spread over the split.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder of all data sets, or of one. Repeatable. Without it, data are generated.",
            metavar="ROOT|NAME=DIR",
        ),
    ] = None,
    rewards: Annotated[
        str | None, typer.Option(help="Set of the rewards: paper or robust.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Any key, such as eval.batch_size=8. Repeatable.", metavar="KEY=VALUE"
        ),
    ] = None,
    processes: Annotated[int | None, typer.Option(help="Processes on the CPU.")] = None,
    gpus: Annotated[int | None, typer.Option(help="GPUs, one process each.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the sampled reward.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and the command line, and stop.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Score a model on some tasks, without training."""
    from geovlm import config_load, launch, plan_text
    from geovlm.rundir import RunDir

    data_root, roots = run.split_data(data or [])
    given: dict[str, Any] = {
        "tasks": run.split_names(tasks),
        "data_root": data_root,
        "data": roots or None,
        "model": model,
        "rewards": rewards,
        "seed": seed,
        "output": out,
        "processes": processes,
        "gpus": gpus,
        "stages": [],
        "eval": {"split": split, "limit": limit},
    }
    config = config_load.load(None, overrides=set_ or [], **given)
    folder = out.absolute()
    run.refuse_taken(folder)
    plan = run.prepare(config, folder=folder)
    if dry_run:
        run.print_dry_run(plan, json=json)
        return
    for line in plan_text.lines(plan):
        output.say(line)
    directory = RunDir(folder)
    run.write(directory, plan)
    seconds = launch.run_stage(directory, config=plan.config, index=-1, resume=False)
    directory.add_seconds("eval", seconds)
    run.finish(directory, json=json)
