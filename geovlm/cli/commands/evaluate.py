"""`geovlm eval`: score a model on some tasks, without training."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geovlm.cli import output, together
from geovlm.cli.commands import run
from geovlm.cli.options import (
    DataOption,
    DryRunOption,
    GpusOption,
    JsonOption,
    MachineRankOption,
    MachinesOption,
    MainAddressOption,
    ModelOption,
    OptionalLimitOption,
    ProcessesOption,
    ResumeOption,
    SetOption,
    TasksOption,
)
from geovlm.cli.results import print_against
from geovlm.errors import ConfigError

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig
    from geovlm.run.folder import RunDir


class Against(StrEnum):
    """What scores are put beside ours."""

    paper = "paper"


def evaluate(
    model: ModelOption,
    tasks: TasksOption,
    out: Annotated[Path, typer.Option("--output", help="Folder for answers and scores.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    limit: OptionalLimitOption = None,
    data: DataOption = None,
    rewards: Annotated[
        str | None, typer.Option(help="Set of the rewards: paper or robust.")
    ] = None,
    set_: SetOption = None,
    processes: ProcessesOption = None,
    gpus: GpusOption = None,
    machines: MachinesOption = None,
    machine_rank: MachineRankOption = None,
    main_address: MainAddressOption = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the sampled reward.")] = None,
    probes: Annotated[
        bool,
        typer.Option("--probes", help="Also ask about pairs swapped, unchanged and shifted."),
    ] = False,
    against: Annotated[
        Against | None, typer.Option(help="Print the published scores beside ours.")
    ] = None,
    resume: ResumeOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """Score a model on some tasks, without training.

    Blind baselines (majority answer, text only, shuffled images) are scored on the same samples.
    """
    from geovlm.config import load
    from geovlm.plan import text
    from geovlm.run import machines as known_machines
    from geovlm.run.folder import RunDir, check_writable

    machine = known_machines.find(
        machines=machines, machine_rank=machine_rank, main_address=main_address
    )
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
        "machines": machines if machine.count == 1 else machine.count,
        "stages": [],
        "eval": {"split": split, "limit": limit, "probes": probes, "control_limit": None},
    }
    config = together.on_machine(load.load(None, overrides=set_ or [], **given), machine)
    folder = out.absolute()
    directory = RunDir(folder)
    leads = machine.leads or dry_run
    if leads and resume:
        _refuse_another(directory, config)
    elif leads:
        run.refuse_taken(folder)
    if not dry_run:
        check_writable(folder)
    if not leads:
        together.follow(config, folder, machine, resume=resume)
        return
    with together.meeting(config, folder, machine, alone=dry_run) as others:
        plan = run.prepare(config, folder=folder)
        if dry_run:
            run.print_dry_run(plan, json=json, machine=machine)
            return
        for line in text.lines(plan):
            output.say(line)
        with directory.locked():
            run.write(directory, plan)
            again = "the same command with --resume"
            together.run_stages(plan, folder, resume=resume, others=others, again=again)
            if against is None:
                run.finish(directory, json=json)
            else:
                _finish_against(directory, json=json)


def _refuse_another(directory: RunDir, config: RunConfig) -> None:
    """Refuse to go on with an evaluation of other settings.

    Raises:
        ConfigError: the folder holds none, or one that was started otherwise.
    """
    if not directory.is_run:
        raise ConfigError(
            f"nothing to resume: {directory.path} holds no evaluation",
            hint="leave out --resume to start one",
        )
    stored = directory.read_resolved()["config"]
    differing = run.differences(stored, config.model_dump(mode="json"))
    if differing:
        raise ConfigError(
            f"{directory.path} was started with other values of {', '.join(differing)}",
            hint="resume with the same ones, or give another --output",
        )


def _finish_against(directory: RunDir, *, json: bool) -> None:
    """Write the report and print our scores, and the published ones beside them."""
    from geovlm.report.page import write as write_report
    from geovlm.score import against

    resolved = directory.read_resolved()
    settings = resolved["config"]["eval"]

    def score(task: str, stage: str, protocol: str) -> dict[str, Any] | None:
        return against.by_protocol(
            directory.eval_file(task, stage),
            protocol=protocol,
            resamples=settings["resamples"],
            seed=resolved["config"]["seed"],
        )

    metrics = directory.read_metrics()
    rows = against.rows(metrics, score, generated=bool(resolved["generated"]))
    directory.write_json(directory.path / "against.json", {"rows": rows})
    if json:
        page = write_report(directory.path)
        output.print_json(
            {
                **metrics,
                "against": rows,
                "output": str(directory.path),
                "report": str(page),
            }
        )
        return
    run.finish(directory, json=False)
    print_against(rows)
