"""`geovlm run`: the main job."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geovlm.cli import output, together
from geovlm.cli.options import (
    DataOption,
    DryRunOption,
    GpusOption,
    JsonOption,
    LauncherOption,
    MachineRankOption,
    MachinesOption,
    MainAddressOption,
    OptionalModelOption,
    OptionalTasksOption,
    ParallelOption,
    ProcessesOption,
    ResumeOption,
    SbatchOption,
    SetOption,
)
from geovlm.errors import ConfigError

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig
    from geovlm.plan.build import Plan
    from geovlm.run.folder import RunDir
    from geovlm.run.machines import Machine

_MAY_CHANGE = {
    *("processes", "gpus", "machines", "machine_timeout_s", "parallel", "device"),
    *("output", "preset", "health", "timeout_s"),
}
"""Fields that a resumed run may have other values of."""


def run(
    config: Annotated[
        Path | None, typer.Argument(help="A TOML file; see 'geovlm config schema'.")
    ] = None,
    tasks: OptionalTasksOption = None,
    data: DataOption = None,
    preset: Annotated[
        str | None, typer.Option(help="nano (default) or geovlm-r1; below the file and options.")
    ] = None,
    model: OptionalModelOption = None,
    rewards: Annotated[
        str | None, typer.Option(help="Which set trains: paper or robust; default: the preset's.")
    ] = None,
    set_: SetOption = None,
    processes: ProcessesOption = None,
    gpus: GpusOption = None,
    machines: MachinesOption = None,
    machine_rank: MachineRankOption = None,
    main_address: MainAddressOption = None,
    parallel: ParallelOption = None,
    launcher: LauncherOption = None,
    sbatch: SbatchOption = None,
    out: Annotated[
        Path | None, typer.Option("--output", help="Run directory; default runs/<tasks>.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of data order and sampling.")] = None,
    deduplicate: Annotated[
        bool,
        typer.Option(
            "--deduplicate",
            help="Leave out training samples whose images the evaluation has too; also those of "
            "its events by --set deduplicate=events.",
        ),
    ] = False,
    resume: ResumeOption = False,
    dry_run: DryRunOption = False,
    json: JsonOption = False,
) -> None:
    """SFT, probe, GRPO, evaluation and report on some tasks.

    Without --data the data are generated, without --model the built-in model is used: the whole job
    runs on a laptop without a network.
    """
    from geovlm.plan import text as plan_text
    from geovlm.run import folder as rundir
    from geovlm.run import machines as known_machines
    from geovlm.run.vllm import server

    slurm = together.by_slurm(
        launcher, sbatch, machine_rank=machine_rank, main_address=main_address
    )
    machine = known_machines.find(
        machines=None if slurm else machines, machine_rank=machine_rank, main_address=main_address
    )
    together.refuse_unshared(out, machine)
    data_root, roots = split_data(data or [])
    given: dict[str, Any] = {
        "tasks": split_names(tasks),
        "data_root": data_root,
        "data": roots or None,
        "model": model,
        "rewards": rewards,
        "seed": seed,
        "deduplicate": "images" if deduplicate else None,
        "output": out,
        "processes": processes,
        "gpus": gpus,
        "machines": machines if slurm or machine.count == 1 else machine.count,
        "parallel": parallel,
    }
    loaded, folder = _configure(
        config,
        given,
        preset=preset,
        overrides=set_ or [],
        resume=resume,
        leads=machine.leads or dry_run,
    )
    if not dry_run:
        rundir.check_writable(folder)
    if not slurm:
        loaded = together.on_machine(loaded, machine)
    if not (machine.leads or dry_run):
        together.follow(loaded, folder, machine, resume=resume)
        return
    with together.meeting(loaded, folder, machine, alone=dry_run or slurm) as others:
        plan = prepare(loaded, folder=folder, elsewhere=slurm)
        if not plan.stages:
            raise ConfigError(
                "the configuration has no stages", hint="use 'geovlm eval' to score only"
            )
        if dry_run:
            print_dry_run(plan, json=json, machine=machine)
            if slurm and not json:
                print(together.script(plan, options=sbatch or []), end="")
            return
        for line in [*plan_text.lines(plan), *memory_lines(plan)]:
            output.say(line)
        directory = rundir.RunDir(folder)
        if slurm:
            text = together.script(plan, options=sbatch or [])
            write(directory, plan)
            together.submit(directory, text)
            return
        server.check_urls(plan.config)
        with directory.locked():
            write(directory, plan)
            again = f"geovlm run --resume --output {folder}"
            together.run_stages(plan, folder, resume=resume, others=others, again=again)
            finish(directory, json=json)


def split_names(text: str | None) -> list[str] | None:
    """Return the names in `a,b`, or `None`."""
    if text is None:
        return None
    return [name.strip() for name in text.split(",") if name.strip()]


def split_data(values: Sequence[str]) -> tuple[Path | None, dict[str, dict[str, str]]]:
    """Return the common data root, and the folders of single data sets.

    Raises:
        ConfigError: two common roots.
    """
    root: Path | None = None
    roots: dict[str, dict[str, str]] = {}
    for value in values:
        name, sign, folder = value.partition("=")
        if sign and not Path(value).exists():
            roots[name] = {"root": folder}
        elif root is not None:
            raise ConfigError(
                f"--data {value}: the common folder is {root} already",
                hint="the folder of one data set is given as --data NAME=DIR",
            )
        else:
            root = Path(value)
    return root, roots


def prepare(config: RunConfig, *, folder: Path, elsewhere: bool = False) -> Plan:
    """Resolve the device and return the plan of a run into `folder`.

    Args:
        config: the run.
        folder: the run directory.
        elsewhere: it will run on another machine, which has the GPUs that are asked for.
    """
    from geovlm.plan import build as plan
    from geovlm.plugins import registry
    from geovlm.run import launch

    there = config.gpus or 0 if elsewhere else len(launch.visible_gpus())
    device = launch.device(config, gpus=there)
    resolved = config.model_copy(update={"device": device, "output": folder})
    return plan.make(resolved, registry=registry.load(), output=folder)


def memory_lines(plan: Plan) -> list[str]:
    """Return the estimate of memory, for models and devices that it may matter for."""
    from geovlm.plan.memory import shape as modelshape
    from geovlm.plan.memory import stages

    if plan.config.device == "cpu" and (plan.model.parameters or math.inf) <= stages.SMALL:
        return []
    try:
        shape = modelshape.inspect(plan.model, plan.config)
    except ConfigError as error:  # the first stage fetches the model
        return [f"memory  {error}"]
    limit = stages.limit_of(plan.config, gpu_gib=None)
    return stages.lines(stages.of(plan, shape=shape, limit=limit))


def print_dry_run(plan: Plan, *, json: bool, machine: Machine | None = None) -> None:
    """Print the plan and the command lines of all machines to standard output."""
    from geovlm.plan import commands
    from geovlm.plan import text as plan_text

    found = commands.launches(plan, machine=machine)
    if json:
        launches = {"launches": [each.table() for each in found]}
        output.print_json(plan_text.table(plan) | launches)
        return
    print("\n".join(plan_text.lines(plan)))
    for each in found:
        print("\n".join(each.describe()))


def write(directory: RunDir, plan: Plan) -> None:
    """Write `resolved.json` and `environment.json`.

    Raises:
        DataError: a run goes on whose data have changed.
    """
    from geovlm.plan import environment
    from geovlm.plugins import registry
    from geovlm.run import launch, resuming

    resolved = resuming.take_over(directory, plan.resolved())
    gpus = len(launch.visible_gpus())
    described = environment.describe(plan, registry=registry.load(), gpus=gpus)
    directory.write_json(directory.environment, described)
    if plan.config.deduplicate != "off":
        directory.write_text(directory.deduplicated, plan.deduplicated.as_json())
    directory.write_json(directory.resolved, resolved)


def finish(directory: RunDir, *, json: bool) -> None:
    """Write the report and print the scores."""
    from geovlm.cli.results import print_results
    from geovlm.report.page import write as write_report

    page = write_report(directory.path)
    metrics = directory.read_metrics()
    if json:
        output.print_json({**metrics, "output": str(directory.path), "report": str(page)})
        return
    print_results(metrics)
    print(f"report: {page}")


def refuse_taken(folder: Path) -> None:
    """Refuse a folder that holds another run, or anything else.

    A run that stopped before it had anything to lose may be started again.

    Raises:
        ConfigError: it does.
    """
    from geovlm.run import meeting
    from geovlm.run.folder import LOCK, RunDir

    run = RunDir(folder)
    if run.is_run and not run.has_progress:
        return
    if run.is_run:
        raise ConfigError(
            f"{folder} holds a run already",
            hint="--resume goes on with it; or give another --output",
        )
    known = (LOCK, meeting.FOLDER)
    strange = folder.is_dir() and any(each.name not in known for each in folder.iterdir())
    if folder.is_file() or strange:
        raise ConfigError(f"{folder} is not an empty folder", hint="give another --output")


def _configure(
    file: Path | None,
    given: dict[str, Any],
    *,
    preset: str | None,
    overrides: Sequence[str],
    resume: bool,
    leads: bool = True,
) -> tuple[RunConfig, Path]:
    """Return the configuration and the run directory, which is judged by machine 0 alone."""
    from geovlm.config import load
    from geovlm.run import folder as rundir

    said = {name for name, value in given.items() if value is not None} - _MAY_CHANGE
    if resume and file is None and not overrides and not said and given["output"] is not None:
        return _stored(rundir.RunDir(given["output"].absolute()), given)
    loaded = load.load(file, preset=preset, overrides=overrides, **given)
    if not leads and loaded.output is not None:
        return loaded, loaded.output
    if not resume:
        if loaded.output is not None:
            refuse_taken(loaded.output)
        return loaded, loaded.output or rundir.default_output(list(loaded.tasks)).absolute()
    folder = loaded.output or rundir.latest_output(list(loaded.tasks))
    if folder is None or not rundir.RunDir(folder).is_run:
        where = folder or Path("runs") / "_".join(loaded.tasks)
        raise ConfigError(
            f"nothing to resume: {where} holds no run", hint="leave out --resume to start one"
        )
    stored = rundir.RunDir(folder.absolute()).read_resolved()["config"]
    differing = differences(stored, loaded.model_dump(mode="json"))
    if differing:
        raise ConfigError(
            f"{folder} was started with other values of {', '.join(differing)}",
            hint="resume with the same ones, or start another run with --output",
        )
    return loaded, folder.absolute()


def _stored(directory: RunDir, given: dict[str, Any]) -> tuple[RunConfig, Path]:
    """Return the configuration that a run was started with, on other processes if asked for."""
    from geovlm.config.schema import RunConfig

    if not directory.is_run:
        raise ConfigError(
            f"nothing to resume: {directory.path} holds no run",
            hint="leave out --resume to start one",
        )
    stored = directory.read_resolved()["config"]
    keys = ("processes", "gpus", "machines", "parallel")
    changed = {key: given[key] for key in keys if given[key] is not None}
    if "processes" in changed or "gpus" in changed:
        changed["device"] = "auto" if "gpus" in changed else stored["device"]
    return RunConfig.model_validate(stored | changed), directory.path


def differences(before: Any, after: Any, *, path: str = "") -> list[str]:
    """Return the paths of all keys whose values differ, except those that may."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [key for key in {**before, **after} if path or key not in _MAY_CHANGE]
        return [
            found
            for key in keys
            for found in differences(before.get(key), after.get(key), path=f"{path}.{key}")
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            found
            for i, (a, b) in enumerate(zip(before, after, strict=True))
            for found in differences(a, b, path=f"{path}.{i}")
        ]
    return [] if before == after else [path.lstrip(".")]
