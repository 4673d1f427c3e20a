"""Steps that `geovlm run`, `plan` and `eval` share: settings, plan, stages, results."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geovlm.cli import output
from geovlm.errors import ConfigError, RunFailedError, StoppedError

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig
    from geovlm.plan.build import Plan
    from geovlm.run.folder import RunDir
    from geovlm.run.heartbeat import Heartbeat
    from geovlm.run.machines import Machine


def configure(
    file: Path | None,
    given: dict[str, Any],
    *,
    preset: str | None,
    overrides: Sequence[str],
    resume: bool,
    leads: bool = True,
) -> tuple[RunConfig, Path]:
    """Return the configuration and the run folder, which machine 0 alone checks.

    Raises:
        ConfigError: there is no run to resume, or the run folder is in use.
    """
    from geovlm.config import load
    from geovlm.run import folder as folders
    from geovlm.run import resuming

    changed = {name for name, value in given.items() if value is not None} - resuming.MAY_CHANGE
    if resume and file is None and not overrides and not changed and given["output"] is not None:
        return _stored(folders.RunDir(given["output"].absolute()), given)
    loaded = load.load(file, preset=preset, overrides=overrides, **given)
    if not leads and loaded.output is not None:
        return loaded, loaded.output
    if not resume:
        if loaded.output is not None:
            resuming.refuse_taken(loaded.output)
        return loaded, loaded.output or folders.default_output(list(loaded.tasks)).absolute()
    folder = loaded.output or folders.latest_output(list(loaded.tasks))
    directory = folders.RunDir((folder or Path("runs") / "_".join(loaded.tasks)).absolute())
    resuming.refuse_another(directory, loaded.model_dump(mode="json"))
    return loaded, directory.path


def _stored(directory: RunDir, given: Mapping[str, Any]) -> tuple[RunConfig, Path]:
    """Return the stored configuration of a run, with the processes of the options."""
    from geovlm.config.schema import RunConfig
    from geovlm.run import resuming

    resuming.refuse_absent(directory)
    stored = directory.read_resolved()["config"]
    keys = ("processes", "gpus", "machines", "parallel")
    changed = {key: given[key] for key in keys if given[key] is not None}
    if "processes" in changed or "gpus" in changed:
        changed["device"] = "auto" if "gpus" in changed else stored["device"]
    return RunConfig.model_validate(stored | changed), directory.path


def on_machine(config: RunConfig, machine: Machine) -> RunConfig:
    """Return the configuration with the number of processes that torchrun started per machine.

    Raises:
        ConfigError: configuration or options set other numbers.
    """
    from geovlm.run import devices

    if config.machines != machine.count:
        raise ConfigError(
            f"the run is for {config.machines} machines, and this is the only one",
            hint=f"on each: --machines {config.machines} --machine-rank R --main-address "
            "HOST:PORT; or --machines 1",
        )
    changed: dict[str, int] = {}
    local = machine.local_processes
    if local is not None:
        kind = "gpus" if config.device != "cpu" and devices.visible_gpus() else "processes"
        wanted = config.gpus or (config.processes if config.processes > 1 else None)
        if wanted not in (None, local):
            raise ConfigError(
                f"the run needs {wanted} processes per machine, and torchrun started {local}",
                hint=f"use torchrun --nproc-per-node {wanted}, or set {local} processes",
            )
        changed[kind] = local
    return type(config).model_validate(config.model_dump() | changed)


def prepare(config: RunConfig, *, folder: Path, elsewhere: bool = False) -> Plan:
    """Resolve the device; return the plan of a run, `elsewhere` on a machine that has its GPUs."""
    from geovlm.plan import build
    from geovlm.plugins import registry
    from geovlm.run import devices

    device = devices.device(config, gpus=config.gpus or 0 if elsewhere else None)
    resolved = config.model_copy(update={"device": device, "output": folder})
    return build.make(resolved, registry=registry.load(), output=folder, elsewhere=elsewhere)


def memory_lines(plan: Plan) -> list[str]:
    """Return the estimate of memory; empty for small models on the CPU."""
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


def print_plan(plan: Plan, *, lines: Sequence[str], table: Mapping[str, Any], json: bool) -> None:
    """Print a plan and additions of a command to standard output, as lines or as JSON."""
    from geovlm.plan import text

    if json:
        output.print_json({**text.table(plan), **table})
    else:
        print("\n".join([*text.lines(plan), *lines]))


def print_dry_run(plan: Plan, *, json: bool, machine: Machine | None = None) -> None:
    """Print the plan and the command lines of all machines to standard output."""
    from geovlm.plan import commands

    launches = commands.launches(plan, machine=machine)
    print_plan(
        plan,
        lines=[line for each in launches for line in each.describe()],
        table={"launches": [each.table() for each in launches]},
        json=json,
    )


def write(directory: RunDir, plan: Plan) -> None:
    """Write `resolved.json` and `environment.json`.

    Raises:
        DataError: a resumed run's data have changed.
    """
    from geovlm.plan import environment
    from geovlm.plugins import registry
    from geovlm.run import devices, files, resuming

    resolved = resuming.take_over(directory, plan.resolved())
    gpus = len(devices.visible_gpus())
    described = environment.describe(plan, registry=registry.load(), gpus=gpus)
    files.write_json(directory.environment, described)
    if plan.config.deduplicate != "off":
        files.write_text(directory.deduplicated, plan.deduplicated.as_json())
    files.write_json(directory.resolved, resolved)


@contextlib.contextmanager
def heartbeat(
    config: RunConfig, folder: Path, machine: Machine, *, alone: bool = False
) -> Iterator[Heartbeat | None]:
    """Send heartbeats to the other processes; yields `None` if there are none or nothing runs."""
    if machine.alone or alone:
        yield None
        return
    from geovlm.run.folder import RunDir
    from geovlm.run.heartbeat import Heartbeat

    with Heartbeat(RunDir(folder), machine, timeout_s=config.machine_timeout_s) as others:
        yield others


def follow(config: RunConfig, folder: Path, machine: Machine, *, resume: bool) -> None:
    """Run the stages on a machine other than the first, or wait if another process does it.

    Machine 0 plans the run and writes its files, from which the configuration is read.

    Raises:
        RunFailedError: a stage failed, or a machine was lost.
    """
    from geovlm.config.schema import RunConfig
    from geovlm.run import devices, launch
    from geovlm.run.folder import RunDir

    directory = RunDir(folder)
    with heartbeat(config, folder, machine) as others:
        assert others is not None
        if machine.waits:
            others.wait(lambda: others.read(0, "state") == "done")
            return
        output.say(f"machine {machine.rank} of {machine.count}: waiting for the plan of machine 0")
        others.wait(lambda: others.read(0, "planned") is True)
        resolved = RunConfig.model_validate(directory.read_resolved()["config"])
        devices.device(resolved)
        launch.run_stages(directory, config=resolved, resume=resume, heartbeat=others)
        # until machine 0 has scored and written everything
        others.wait(lambda: others.read(0, "state") == "done")


def run_stages(
    plan: Plan, directory: RunDir, *, resume: bool, others: Heartbeat | None, again: str
) -> None:
    """Write the plan and run its stages, as the process that planned them; `again` resumes them.

    Raises:
        RunFailedError: a stage failed, or a machine was lost; prints how to continue.
    """
    from geovlm.run import launch

    write(directory, plan)
    try:
        if others is not None:
            others.publish(planned=True)
            others.wait_for_all()
        launch.run_stages(directory, config=plan.config, resume=resume, heartbeat=others)
    except (KeyboardInterrupt, RunFailedError, StoppedError):
        everywhere = "" if others is None else ", with the same --machines … on each"
        output.say(f"to continue: {again}{everywhere}")
        raise


def finish(directory: RunDir, *, json: bool, more: Mapping[str, Any] | None = None) -> None:
    """Write the report and print the scores, or with `json` one document of them and `more`."""
    from geovlm.cli.results import print_results
    from geovlm.report.page import write as write_report

    page = write_report(directory.path)
    metrics = directory.read_metrics()
    if json:
        places = {"output": str(directory.path), "report": str(page)}
        output.print_json({**metrics, **(more or {}), **places})
        return
    print_results(metrics)
    print(f"report: {page}")
