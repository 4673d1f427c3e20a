"""Steps that `geovlm run`, `plan` and `eval` share before anything starts: settings and plan."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geovlm.cli import output
from geovlm.errors import (
    ConfigError,
    DatasetNotFoundError,
    GeoVLMError,
)

if TYPE_CHECKING:
    from geovlm.config.schema import RunConfig
    from geovlm.plan.build import Plan
    from geovlm.plan.checks import Context
    from geovlm.run.folder import RunDir
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
    from geovlm.cli import configuration
    from geovlm.run import folder as folders
    from geovlm.run import resuming

    if resume and file is None and preset is None:
        directory = folders.RunDir(_to_resume(given["output"], given["tasks"] or []))
        resuming.refuse_absent(directory)
        stored = directory.read_resolved()["config"]
        changed = _moved(given, stored)
        loaded = configuration.load(None, stored=stored, overrides=overrides, **changed)
        adopt(directory, given["data_files"] or ())
        resuming.refuse_another(directory, loaded.model_dump(mode="json"))
        return loaded, directory.path
    loaded = configuration.load(file, preset=preset, overrides=overrides, **given)
    if not leads and loaded.output is not None:
        return loaded, loaded.output
    if not resume:
        if loaded.output is not None:
            resuming.refuse_taken(loaded.output)
        return loaded, loaded.output or folders.default_output(list(loaded.tasks)).absolute()
    directory = folders.RunDir(_to_resume(loaded.output, list(loaded.tasks)))
    adopt(directory, given["data_files"] or ())
    resuming.refuse_another(directory, loaded.model_dump(mode="json"))
    return loaded, directory.path


def adopt(directory: RunDir, files: Sequence[Path]) -> None:
    """Offer the descriptions of a resumed run, except for those that the user gives anew."""
    from geovlm.plan import descriptions
    from geovlm.plugins import described

    given = described.offer(files, known="replace")
    descriptions.adopt(directory, but=given)
    for line in descriptions.changes(directory, but=given):
        output.say(f"note: {line}")


def _to_resume(output: Path | None, tasks: Sequence[str]) -> Path:
    """Return the folder of a run to resume: the given one, or the newest of these tasks."""
    from geovlm.run import folder as folders

    return (output or folders.latest_output(tasks) or folders.first_output(tasks)).absolute()


def _moved(given: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a resumed run that override its stored configuration.

    A common folder of data replaces the folders of single data sets, which would hide it.
    """
    changed = dict(given)
    if given["gpus"] is not None:
        changed["device"] = "auto"
    if given["data_root"] is not None:
        gone = {name: {"root": None} for name in stored["data"]}
        changed["data"] = gone | (given["data"] or {})
    return changed


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


def prepare(
    config: RunConfig,
    *,
    folder: Path,
    elsewhere: bool = False,
    resume: bool = False,
    draw: bool = False,
    few: bool = False,
) -> Plan:
    """Resolve the device; return the plan of a run, `elsewhere` on a machine that has its GPUs.

    With `draw` a sample of each task is drawn before all data are read, and its file named. With
    `few`, a few records are read of data that cannot be generated, unless a run is resumed, whose
    data are compared with those of its start.

    Raises:
        GeoVLMError: the run cannot work; or, with `resume`, its tasks, data or model are others.
    """
    from geovlm.plan import build
    from geovlm.plugins import registry
    from geovlm.run import adapters, devices, resuming
    from geovlm.run.folder import RunDir

    config = adapters.whole(config)
    device = devices.device(config, gpus=config.gpus or 0 if elsewhere else None)
    resolved = config.model_copy(update={"device": device, "output": folder})
    if resume and Path(config.model).is_absolute() and not Path(config.model).is_dir():
        again = resuming.line(folder, "--model", "DIR")
        raise ConfigError(
            f"model {config.model!r} does not exist", hint=f"it may lie elsewhere: {again}"
        )
    context = build.begin(
        resolved,
        registry=registry.load(),
        elsewhere=elsewhere,
        few=few and not resume,
        begun=RunDir(folder) if resume else None,
    )
    try:
        with _pictures(context, folder) if draw else contextlib.nullcontext():
            plan = build.finish(context, output=folder)
    except DatasetNotFoundError as error:
        if not resume:
            raise
        again = resuming.line(folder, "--data", f"{error.dataset}=DIR")
        raise DatasetNotFoundError(
            error.dataset, error.path, hint=f"the data may lie elsewhere: {again}"
        ) from error
    if resume:
        _compare(plan, folder)
    return plan


@contextlib.contextmanager
def _pictures(context: Context, folder: Path) -> Iterator[None]:
    """Draw a sample of each task and name the files; a run that is refused then leaves none."""
    from geovlm.plan import samples
    from geovlm.run.folder import RunDir

    there = folder.exists()
    for line in samples.lines(samples.draw(context, RunDir(folder).samples)):
        output.say(line)
    try:
        yield
    except (GeoVLMError, KeyboardInterrupt):
        shutil.rmtree(RunDir(folder).samples if there else folder, ignore_errors=True)
        raise


def _compare(plan: Plan, folder: Path) -> None:
    """Compare a plan with the start of the run that it resumes, and print other versions."""
    from geovlm.run import resuming
    from geovlm.run.folder import RunDir

    now = described(plan)
    resuming.refuse_other_contents(RunDir(folder), now)
    for each in resuming.other_versions(RunDir(folder), now):
        what = "plugin" if each.key[0] == "plugins" else "package"
        output.say(
            f"warning: {what} {each.key[1]} had version {each.before or 'none'} when the run was "
            f"started, it has {each.after or 'none'}"
        )


def described(plan: Plan) -> dict[str, Any]:
    """Return what `environment.json` holds of a plan."""
    from geovlm.plan import environment
    from geovlm.plugins import registry
    from geovlm.run import devices

    gpus = len(devices.visible_gpus())
    return environment.describe(plan, registry=registry.load(), gpus=gpus)


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
