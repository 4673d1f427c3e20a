"""`geovlm run` and `eval` where several processes have a part: machines beside the first, Slurm."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from geovlm.cli import output
from geovlm.errors import ConfigError, RunFailedError, StoppedError

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig
    from geovlm.plan.build import Plan
    from geovlm.run.folder import RunDir
    from geovlm.run.machines import Machine
    from geovlm.run.meeting import Meeting


def by_slurm(
    name: str | None,
    options: Sequence[str] | None,
    *,
    machine_rank: int | None,
    main_address: str | None,
) -> bool:
    """Return whether the run is to be started by Slurm.

    Raises:
        ConfigError: another launcher, or options that do not go with it.
    """
    if name is None:
        if options:
            raise ConfigError("--sbatch is for --launcher slurm", hint="leave it out")
        return False
    if name != "slurm":
        raise ConfigError(f"--launcher {name!r} is not known", hint="use slurm, or leave it out")
    if machine_rank is not None or main_address is not None:
        raise ConfigError(
            "--machine-rank and --main-address are said by the batch script",
            hint="leave them out with --launcher slurm",
        )
    return True


def on_machine(config: RunConfig, machine: Machine) -> RunConfig:
    """Return the configuration with the number of machines, and what torchrun started on each.

    Raises:
        ConfigError: configuration or options ask for other numbers.
    """
    from geovlm.run import launch

    if config.machines != machine.count:
        raise ConfigError(
            f"the run is for {config.machines} machines, and this is the only one",
            hint=f"on each: --machines {config.machines} --machine-rank R --main-address "
            "HOST:PORT; or --machines 1",
        )
    changed: dict[str, int] = {}
    local = machine.local_processes
    if local is not None:
        kind = "gpus" if config.device != "cpu" and launch.visible_gpus() else "processes"
        asked = config.gpus or (config.processes if config.processes > 1 else None)
        if asked not in (None, local):
            raise ConfigError(
                f"{asked} processes per machine are asked for, and torchrun started {local}",
                hint=f"start {asked} with torchrun --nproc-per-node {asked}, or ask for {local}",
            )
        changed[kind] = local
    return type(config).model_validate(config.model_dump() | changed)


def refuse_unshared(folder: Path | None, machine: Machine) -> None:
    """Refuse a run of several processes without `--output`: each would find a place of its own.

    Raises:
        ConfigError: it has none.
    """
    if folder is None and not machine.alone:
        raise ConfigError(
            "--output is missing: all machines write into one run directory",
            hint="give every machine the same folder, on a file system that they share",
        )


@contextlib.contextmanager
def meeting(
    config: RunConfig, folder: Path, machine: Machine, *, alone: bool = False
) -> Iterator[Meeting | None]:
    """Give signs of life to the other processes of the run; nothing where there are none.

    Args:
        config: the run.
        folder: its directory.
        machine: this one.
        alone: nothing is going to run, so that no other is waited for.
    """
    if machine.alone or alone:
        yield None
        return
    from geovlm.run.folder import RunDir
    from geovlm.run.meeting import Meeting

    with Meeting(RunDir(folder), machine, timeout_s=config.machine_timeout_s) as others:
        yield others


def follow(config: RunConfig, folder: Path, machine: Machine, *, resume: bool) -> None:
    """Do the part of a machine beside the first, or wait where another process of it does.

    Machine 0 plans the run and writes its files; the configuration is read from them.

    Raises:
        RunFailedError: a stage failed, or a machine was lost.
    """
    from geovlm.config.schema import RunConfig
    from geovlm.run import launch
    from geovlm.run.folder import RunDir

    directory = RunDir(folder)
    with meeting(config, folder, machine) as others:
        assert others is not None
        if machine.waits:
            others.wait(lambda: others.heard(0, "state") == "done")
            return
        output.say(f"machine {machine.rank} of {machine.count}: waiting for the plan of machine 0")
        others.wait(lambda: others.heard(0, "planned") is True)
        resolved = RunConfig.model_validate(directory.read_resolved()["config"])
        launch.device(resolved, gpus=len(launch.visible_gpus()))
        launch.run_stages(directory, config=resolved, resume=resume, meeting=others)
        # until machine 0 has scored and written everything
        others.wait(lambda: others.heard(0, "state") == "done")


def run_stages(
    plan: Plan, folder: Path, *, resume: bool, others: Meeting | None, again: str
) -> None:
    """Run the stages as the process that planned them.

    Args:
        plan: the run.
        folder: its directory.
        resume: go on with what is there.
        others: the other machines; `None` where there are none.
        again: the command with which a stopped run goes on.

    Raises:
        RunFailedError: one failed, or a machine was lost; how to go on has been said then.
    """
    from geovlm.run import launch
    from geovlm.run.folder import RunDir

    try:
        if others is not None:
            others.tell(planned=True)
            others.wait_for_all()
        launch.run_stages(RunDir(folder), config=plan.config, resume=resume, meeting=others)
    except (KeyboardInterrupt, RunFailedError, StoppedError):
        everywhere = "" if others is None else ", with the same --machines … on each"
        output.say(f"to go on: {again}{everywhere}")
        raise


def script(plan: Plan, *, options: Sequence[str]) -> str:
    """Return the batch script of a planned run."""
    from geovlm.plan import slurm

    return slurm.script(plan, options=options)


def submit(directory: RunDir, text: str) -> None:
    """Write a batch script into the run directory; its path is the output."""
    from geovlm.plan import slurm

    path = directory.path / slurm.SCRIPT
    directory.write_text(path, text)
    output.say(f"to start: sbatch {path}")
    print(path)
