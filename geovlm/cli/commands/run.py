"""`geovlm run`: trains and evaluates on tasks."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Annotated

import typer

from geovlm.cli import options, output, planning, running
from geovlm.cli.arguments import in_place_of_configuration, settings
from geovlm.errors import ConfigError


def run(
    config: options.ConfigArgument = None,
    tasks: options.OptionalTasksOption = None,
    data: options.DataOption = None,
    preset: options.PresetOption = None,
    model: options.OptionalModelOption = None,
    rewards: options.RewardsOption = None,
    set_: options.SetOption = None,
    processes: options.ProcessesOption = None,
    gpus: options.GpusOption = None,
    machines: options.MachinesOption = None,
    machine_rank: options.MachineRankOption = None,
    main_address: options.MainAddressOption = None,
    parallel: options.ParallelOption = None,
    launcher: options.LauncherOption = None,
    sbatch: options.SbatchOption = None,
    out: options.OutputOption = None,
    seed: options.SeedOption = None,
    deduplicate: Annotated[
        bool,
        typer.Option(
            "--deduplicate",
            help="Omit training samples whose images are in the evaluation; with --set "
            "deduplicate=events also those of the same events.",
        ),
    ] = False,
    track: options.TrackOption = None,
    track_project: options.TrackProjectOption = None,
    resume: options.ResumeOption = False,
    dry_run: options.DryRunOption = False,
    json: options.JsonOption = False,
) -> None:
    """Train on tasks: SFT, probe, GRPO, evaluation and report.

    CONFIG may also be a description of your own annotations (docs/your-data.md), whose task is then
    trained. Without --data, data is generated; without --model, the built-in model is used. The
    whole run then works on a laptop without a network.
    """
    from geovlm.plan import slurm, text
    from geovlm.run import files, resuming
    from geovlm.run import machines as known_machines
    from geovlm.run.folder import RunDir
    from geovlm.run.status.display import shown

    by_slurm = _by_slurm(launcher, sbatch, machine_rank=machine_rank, main_address=main_address)
    machine = known_machines.find(
        machines=None if by_slurm else machines,
        machine_rank=machine_rank,
        main_address=main_address,
    )
    if out is None and not machine.alone:  # each would choose another folder
        raise ConfigError(
            "--output is missing: all machines write into one run folder",
            hint="give every machine the same folder, on a file system that they share",
        )
    config, data = in_place_of_configuration(config, data)
    given = settings(
        tasks=tasks,
        data=data,
        model=model,
        rewards=rewards,
        seed=seed,
        deduplicate="images" if deduplicate else None,
        output=out,
        processes=processes,
        gpus=gpus,
        machines=machines if by_slurm or machine.count == 1 else machine.count,
        parallel=parallel,
        track=track,
        track_project=track_project,
    )
    loaded, folder = planning.configure(
        config,
        given,
        preset=preset,
        overrides=set_ or [],
        resume=resume,
        leads=machine.leads or dry_run,
    )
    if not dry_run:
        files.check_writable(folder)
    if not by_slurm:
        loaded = planning.on_machine(loaded, machine)
    if not (machine.leads or dry_run):
        running.follow(loaded, folder, machine, resume=resume)
        return
    with running.heartbeat(loaded, folder, machine, alone=dry_run or by_slurm) as others:
        plan = planning.prepare(
            loaded,
            folder=folder,
            elsewhere=by_slurm,
            resume=resume,
            draw=not (dry_run or by_slurm or resume),
            few=dry_run,
        )
        if not plan.stages:
            raise ConfigError(
                "the configuration has no stages", hint="use 'geovlm eval' to score only"
            )
        if dry_run:
            planning.print_dry_run(plan, json=json, machine=machine)
            if by_slurm and not json:
                print(slurm.script(plan, options=sbatch or []), end="")
            return
        for line in [*text.lines(plan), *planning.memory_lines(plan)]:
            output.say(line)
        directory = RunDir(folder)
        if by_slurm:
            script = slurm.script(plan, options=sbatch or [])
            running.write(directory, plan)
            path = directory.path / slurm.SCRIPT
            files.write_text(path, script)
            output.say(f"to start: sbatch {shlex.quote(str(path))}")
            print(path)
            return
        with directory.locked(), shown(directory) as status:
            again = resuming.line(folder)
            running.run_stages(
                plan, directory, resume=resume, others=others, again=again, status=status
            )
            running.finish(directory, json=json)


def _by_slurm(
    name: str | None,
    sbatch: Sequence[str] | None,
    *,
    machine_rank: int | None,
    main_address: str | None,
) -> bool:
    """Return True if Slurm starts the run."""
    if name is None:
        if sbatch:
            raise ConfigError("--sbatch is for --launcher slurm", hint="omit it")
        return False
    if name != "slurm":
        raise ConfigError(f"--launcher {name!r} is not known", hint="use slurm, or omit it")
    if machine_rank is not None or main_address is not None:
        raise ConfigError(
            "--machine-rank and --main-address come from the batch script",
            hint="omit them with --launcher slurm",
        )
    return True
