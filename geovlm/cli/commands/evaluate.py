"""`geovlm eval`: scores a model on tasks, without training."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geovlm.cli import configuration, options, output, planning, running
from geovlm.cli.arguments import answering, endpoint, settings
from geovlm.cli.results import print_against, print_tables

if TYPE_CHECKING:
    from geovlm.run.folder import RunDir


class Against(StrEnum):
    """Source of scores to compare with."""

    paper = "paper"


def evaluate(
    model: options.AnyModelOption,
    out: Annotated[Path, typer.Option("--output", help="Folder for answers and scores.")],
    tasks: options.OptionalTasksOption = None,
    base_url: options.BaseUrlOption = None,
    api_key_env: options.ApiKeyOption = None,
    generation: options.GenerationOption = None,
    url: options.UrlOption = None,
    split: Annotated[
        str, typer.Option(help="Split that is evaluated: train, val or test.")
    ] = "test",
    limit: options.OptionalLimitOption = None,
    data: options.DataOption = None,
    rewards: Annotated[str | None, typer.Option(help="Set of rewards: paper or robust.")] = None,
    set_: options.SetOption = None,
    processes: options.ProcessesOption = None,
    gpus: options.GpusOption = None,
    machines: options.MachinesOption = None,
    machine_rank: options.MachineRankOption = None,
    main_address: options.MainAddressOption = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the sampled reward.")] = None,
    probes: Annotated[
        bool,
        typer.Option("--probes", help="Also evaluate image pairs swapped, unchanged and shifted."),
    ] = False,
    against: Annotated[
        Against | None, typer.Option(help="Also print the published scores.")
    ] = None,
    resume: options.ResumeOption = False,
    dry_run: options.DryRunOption = False,
    json: options.JsonOption = False,
) -> None:
    """Score a model on tasks, without training.

    With a set of tasks, such as --tasks paper, its published tables are printed with our scores.
    Tasks of the set whose data are not given are left out, each by name.

    The model may be behind an OpenAI-compatible endpoint: --model openai:NAME --base-url URL.
    With --generation vllm, vLLM writes the answers of a model that is on this machine.

    Blind baselines (majority answer, text only, shuffled images) are scored on the same samples.
    """
    from geovlm.config.model import served_name
    from geovlm.plan import text
    from geovlm.run import files, resuming
    from geovlm.run import machines as known_machines
    from geovlm.run.folder import RunDir
    from geovlm.run.status.display import shown

    machine = known_machines.find(
        machines=machines, machine_rank=machine_rank, main_address=main_address
    )
    given = settings(
        tasks=tasks,
        data=data,
        model=model,
        rewards=rewards,
        seed=seed,
        output=out,
        processes=processes,
        gpus=gpus,
        machines=machines if machine.count == 1 else machine.count,
        stages=[],
        served=endpoint(base_url, api_key_env),
        answering=answering(generation, url),
        device="cpu" if served_name(model) is not None else None,
        eval={"split": split, "limit": limit, "probes": probes, "control_limit": None},
    )
    config = planning.on_machine(configuration.load(None, overrides=set_ or [], **given), machine)
    folder = out.absolute()
    directory = RunDir(folder)
    leads = machine.leads or dry_run
    if resume:
        planning.adopt(directory, given["data_files"] or ())
    if leads and resume:
        resuming.refuse_another(directory, config.model_dump(mode="json"))
    elif leads:
        resuming.refuse_taken(folder)
    if not dry_run:
        files.check_writable(folder)
    if not leads:
        running.follow(config, folder, machine, resume=resume)
        return
    with running.heartbeat(config, folder, machine, alone=dry_run) as others:
        plan = planning.prepare(config, folder=folder, resume=resume, few=dry_run)
        if dry_run:
            planning.print_dry_run(plan, json=json, machine=machine)
            return
        for line in text.lines(plan):
            output.say(line)
        with directory.locked(), shown(directory) as status:
            again = "the same command with --resume"
            running.run_stages(
                plan, directory, resume=resume, others=others, again=again, status=status
            )
            if against is not None or _sets(config.tasks):
                _finish_against(directory, chosen=against is not None, json=json)
            else:
                running.finish(directory, json=json)


def _sets(names: Iterable[str]) -> list[str]:
    """Return those of the chosen names that are sets of tasks."""
    from geovlm.plugins import registry

    return list(filter(registry.load().is_set, names))


def _finish_against(directory: RunDir, *, chosen: bool, json: bool) -> None:
    """Write the report, and print our scores and the published ones.

    With `chosen` these are all of the evaluated tasks, else the tables of the evaluated sets.
    """
    from geovlm.plugins import registry
    from geovlm.run import files
    from geovlm.score import against

    resolved = directory.read_resolved()
    settings = resolved["config"]["eval"]
    sets = _sets(resolved["config"]["tasks"])

    def score(task: str, stage: str, protocol: str) -> dict[str, Any] | None:
        return against.by_protocol(
            directory.eval_file(task, stage),
            protocol=protocol,
            resamples=settings["resamples"],
            seed=resolved["config"]["seed"],
        )

    metrics, generated = directory.read_metrics(), bool(resolved["generated"])
    tables = against.of_set(
        [entry for name in sets for entry in registry.load().entries(name)],
        metrics,
        score,
        left_out=resolved["left_out"],
        generated=generated,
    )
    rows = against.rows(metrics, score, generated=generated) if chosen else tables
    files.write_json(directory.path / "against.json", {"rows": rows})
    running.finish(directory, json=json, more={"against": rows})
    if json:
        return
    if chosen:
        print_against(rows)
    if tables:
        print_tables(tables)
